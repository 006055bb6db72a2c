//! `pgq queue`.

use clap::Subcommand;
use pgq_client::Error;
use postgres::types::Type;
use serde_json::json;

use super::missing::no_queue;
use super::output::{Format, Rows, done, line};
use super::{Exit, Global, views};

#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// Create a queue; one that exists is left as it is
    Create {
        /// Name of the queue
        queue: String,
        /// Settings, as in `queue set`
        #[arg(value_name = "NAME=VALUE")]
        settings: Vec<Setting>,
    },
    /// Drop a queue and its events
    Drop {
        /// Name of the queue
        queue: String,
        /// Unregister its consumers first
        #[arg(long)]
        force: bool,
    },
    /// List queues
    List,
    /// Show one queue: settings, state, consumers
    Show {
        /// Name of the queue
        queue: String,
    },
    /// Change settings: ticker_max_count, ticker_max_lag, ticker_idle_period, rotation_period, …
    Set {
        /// Name of the queue
        queue: String,
        /// Settings, as `ticker_max_lag='1 second'`
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<Setting>,
    },
    /// Make no more ticks: consumers get nothing new
    Pause {
        /// Name of the queue
        queue: String,
    },
    /// Make ticks again
    Resume {
        /// Name of the queue
        queue: String,
    },
}

/// `name=value`.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    name: String,
    value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                // Both spellings are in use: the function's and the column's.
                let name = name.trim().strip_prefix("queue_").unwrap_or(name.trim());
                Ok(Self { name: name.to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("must be NAME=VALUE".to_owned()),
        }
    }
}

const LIST: &str = "
select i.queue_name as queue, pg_catalog.concat(i.queue_cur_table, '/', i.queue_ntables) as tables,
       i.queue_ticker_paused as paused, i.last_tick_id as last_tick,
       i.ticker_lag as tick_age, i.ev_per_sec as events_per_s,
       i.ev_new as new_events,
       (select pg_catalog.count(*) from pgq.get_consumer_info(i.queue_name)) as consumers,
       (select pg_catalog.max(c.lag) from pgq.get_consumer_info(i.queue_name) c) as max_lag
  from pgq.get_queue_info() i
 order by 1";

const SHOW: &str = "
select s.key as setting, s.value
  from pgq.queue q,
       lateral pg_catalog.json_each_text(pg_catalog.row_to_json(q))
               with ordinality as s (key, value, n)
 where q.queue_name operator(pg_catalog.=) $1
 order by s.n";

impl Queue {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let format = global.format();
        let mut call = |sql: &str, queue: &str| -> Result<i32, Error> {
            let row = client.query_typed_one(sql, &[(&queue, Type::TEXT)])?;
            Ok(row.try_get(0)?)
        };
        match self {
            Self::Create { queue, settings } => {
                let new = call("select pgq.create_queue($1)", &queue)? == 1;
                set(&mut client, &queue, &settings)?;
                let what = if new { "created" } else { "exists already" };
                done(
                    format,
                    &format!("queue \"{queue}\" {what}"),
                    &[("queue", json!(queue)), ("created", json!(new))],
                )?;
            }
            Self::Drop { queue, force } => {
                let sql = if force {
                    "select pgq.drop_queue($1, true)"
                } else {
                    "select pgq.drop_queue($1, false)"
                };
                call(sql, &queue)?;
                done(format, &format!("queue \"{queue}\" dropped"), &[("dropped", json!(queue))])?;
            }
            Self::List => Rows::query(&mut client, LIST, &[])?.print(format)?,
            Self::Show { queue } => {
                let rows = Rows::query(&mut client, SHOW, &[(&queue, Type::TEXT)])?;
                if rows.rows.is_empty() {
                    return Err(no_queue(&queue).into());
                }
                rows.print(format)?;
                let consumers =
                    Rows::query(&mut client, views::CONSUMERS, &[(&Some(&queue), Type::TEXT)])?;
                if format == Format::Table {
                    line("")?;
                }
                consumers.print(format)?;
            }
            Self::Set { queue, settings } => {
                set(&mut client, &queue, &settings)?;
                done(format, &format!("queue \"{queue}\" changed"), &[("changed", json!(queue))])?;
            }
            Self::Pause { queue } => {
                set(&mut client, &queue, &["ticker_paused=true".parse().map_err(Error::Config)?])?;
                done(format, &format!("queue \"{queue}\" paused"), &[("paused", json!(queue))])?;
            }
            Self::Resume { queue } => {
                set(&mut client, &queue, &["ticker_paused=false".parse().map_err(Error::Config)?])?;
                done(format, &format!("queue \"{queue}\" resumed"), &[("resumed", json!(queue))])?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// All settings or none.
fn set(client: &mut postgres::Client, queue: &str, settings: &[Setting]) -> Result<(), Error> {
    let mut transaction = client.transaction()?;
    for setting in settings {
        transaction.query_typed_one(
            "select pgq.set_queue_config($1, $2, $3)",
            &[(&queue, Type::TEXT), (&setting.name, Type::TEXT), (&setting.value, Type::TEXT)],
        )?;
    }
    transaction.commit()?;
    Ok(())
}
