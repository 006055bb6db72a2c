//! `pgq consumer`.

use clap::{Args, Subcommand};
use pgq_client::Error;
use postgres::Client;
use postgres::types::Type;
use serde_json::json;

use super::missing::{no_consumer, no_queue};
use super::output::{Rows, done};
use super::{Exit, Global, views};

#[derive(Debug, Subcommand)]
pub(super) enum ConsumerCommand {
    /// Register a consumer at the newest tick; one that exists keeps its position
    Add {
        /// Name of the queue
        queue: String,
        /// Name of the consumer
        consumer: String,
        /// At this tick instead; moves a consumer that exists
        #[arg(long, value_name = "TICK", conflicts_with = "like")]
        tick: Option<i64>,
        /// Where this other consumer is; moves a consumer that exists
        #[arg(long, value_name = "CONSUMER")]
        like: Option<String>,
        /// A member of the cooperative consumer (pgq_coop)
        #[arg(long, conflicts_with_all = ["tick", "like"])]
        member: Option<String>,
    },
    /// Unregister a consumer; its retries are dropped
    Remove {
        /// Name of the queue
        queue: String,
        /// Name of the consumer
        consumer: String,
        /// Only this member of the cooperative consumer (pgq_coop); one with an open batch is
        /// refused
        #[arg(long)]
        member: Option<String>,
        /// Also when the member has a batch open, which another member then gets
        #[arg(long, requires = "member")]
        force: bool,
    },
    /// List consumers
    List {
        /// Only those of this queue
        queue: Option<String>,
        /// The same as an option
        #[arg(long = "queue", value_name = "QUEUE", conflicts_with = "queue")]
        of_queue: Option<String>,
    },
    /// Move a consumer to another tick, so that events come again or are skipped
    Seek(Seek),
}

#[derive(Debug, Args)]
pub(super) struct Seek {
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    #[command(flatten)]
    target: Target,
    /// Say what would come again or be skipped, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// To this tick
    #[arg(long)]
    tick: Option<i64>,
    /// To the last tick before this time, so that everything after it comes: '2026-11-24 16:00', '5
    /// minutes ago', -5min
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    /// To the oldest tick there is
    #[arg(long)]
    oldest: bool,
    /// To the newest tick
    #[arg(long)]
    newest: bool,
}

const FIND_TICK: &str = "
select t.tick_id, t.tick_event_seq, t.tick_time
  from pgq.tick t
       join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
 where q.queue_name operator(pg_catalog.=) $1
   and case when $2 operator(pg_catalog.=) 'tick'
            then t.tick_id operator(pg_catalog.=) $3::bigint
            when $2 operator(pg_catalog.=) 'time'
            then t.tick_time operator(pg_catalog.<=) $3::timestamp with time zone
            else true end
 order by case when $2 operator(pg_catalog.=) 'oldest' then t.tick_id end, t.tick_id desc
 limit 1";

/// Which tick of a queue is meant.
enum Which {
    Id(i64),
    /// The last one at, or before, a time as the server writes it.
    At(String),
    Oldest,
    Newest,
}

impl Which {
    fn read(target: &Target, client: &mut Client) -> Result<Self, Error> {
        Ok(match target {
            Target { tick: Some(tick), .. } => Self::Id(*tick),
            Target { time: Some(time), .. } => Self::At(moment(client, time)?),
            Target { oldest: true, .. } => Self::Oldest,
            Target { .. } => Self::Newest,
        })
    }

    /// For [`FIND_TICK`].
    fn parameters(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Id(tick) => ("tick", Some(tick.to_string())),
            Self::At(time) => ("time", Some(time.clone())),
            Self::Oldest => ("oldest", None),
            Self::Newest => ("newest", None),
        }
    }

    /// Why there is none.
    fn absent(&self, queue: &str) -> anyhow::Error {
        match self {
            Self::Id(tick) => anyhow::anyhow!("queue \"{queue}\" has no tick {tick}"),
            Self::At(time) => anyhow::anyhow!(
                "queue \"{queue}\" has no tick as old as {time}; \
                 --oldest goes back as far as possible"
            ),
            Self::Oldest | Self::Newest => no_queue(queue).into(),
        }
    }
}

impl ConsumerCommand {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let format = global.format();
        match self {
            Self::Add { queue, consumer, tick, like, member } => {
                let at = match &like {
                    Some(other) => Some(position_of(&mut client, &queue, other)?),
                    None => tick,
                };
                let new = add(&mut client, &queue, &consumer, at, member.as_deref())?;
                let what = match (new, at) {
                    (true, _) => "registered".to_owned(),
                    (false, None) => "was registered already".to_owned(),
                    (false, Some(tick)) => format!("moved to tick {tick}"),
                };
                let name = full_name(&consumer, member.as_deref());
                done(
                    format,
                    &format!("consumer \"{name}\" {what} on queue \"{queue}\""),
                    &[
                        ("queue", json!(queue)),
                        ("consumer", json!(name)),
                        ("registered", json!(new)),
                    ],
                )?;
            }
            Self::Remove { queue, consumer, member, force } => {
                let name = full_name(&consumer, member.as_deref());
                if !remove(&mut client, &queue, &consumer, member.as_deref(), force)? {
                    return Err(no_consumer(&queue, &name).into());
                }
                done(
                    format,
                    &format!("consumer \"{name}\" removed from queue \"{queue}\""),
                    &[("queue", json!(queue)), ("removed", json!(name))],
                )?;
            }
            Self::List { queue, of_queue } => {
                let queue = queue.or(of_queue);
                Rows::query(&mut client, views::CONSUMERS, &[(&queue, Type::TEXT)])?
                    .print(format)?;
            }
            Self::Seek(seek) => seek.run(&mut client, global)?,
        }
        Ok(Exit::Ok)
    }
}

/// A member as `pgq.consumer` has it.
fn full_name(consumer: &str, member: Option<&str>) -> String {
    member.map_or_else(|| consumer.to_owned(), |member| format!("{consumer}.{member}"))
}

/// Register; true when the consumer is new.
fn add(
    client: &mut Client,
    queue: &str,
    consumer: &str,
    tick: Option<i64>,
    member: Option<&str>,
) -> Result<bool, Error> {
    let row = match (tick, member) {
        (Some(tick), _) => client.query_typed_one(
            "select pgq.register_consumer_at($1, $2, $3)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT), (&tick, Type::INT8)],
        )?,
        (None, Some(member)) => client.query_typed_one(
            "select pgq_coop.register_subconsumer($1, $2, $3)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT), (&member, Type::TEXT)],
        )?,
        (None, None) => client.query_typed_one(
            "select pgq.register_consumer($1, $2)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
        )?,
    };
    Ok(row.try_get::<_, i32>(0)? != 0)
}

/// Unregister; false when there was nothing to.
fn remove(
    client: &mut Client,
    queue: &str,
    consumer: &str,
    member: Option<&str>,
    force: bool,
) -> Result<bool, Error> {
    let row = match member {
        Some(member) => client.query_typed_one(
            "select pgq_coop.unregister_subconsumer($1, $2, $3, $4)",
            &[
                (&queue, Type::TEXT),
                (&consumer, Type::TEXT),
                (&member, Type::TEXT),
                (&i32::from(force), Type::INT4),
            ],
        )?,
        None => client.query_typed_one(
            "select pgq.unregister_consumer($1, $2)",
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
        )?,
    };
    Ok(row.try_get::<_, i32>(0)? != 0)
}

/// The last tick a consumer has finished.
fn position_of(client: &mut Client, queue: &str, consumer: &str) -> Result<i64, Error> {
    let row = client.query_typed_opt(
        "select last_tick from pgq.get_consumer_info($1, $2) where last_tick is not null",
        &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
    )?;
    match row {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(no_consumer(queue, consumer)),
    }
}

struct Tick {
    id: i64,
    event_seq: i64,
    time: String,
}

impl Seek {
    fn run(&self, client: &mut Client, global: &Global) -> anyhow::Result<()> {
        let (queue, consumer) = (&self.queue, &self.consumer);
        let row = client
            .query_typed_opt(
                "select last_tick from pgq.get_consumer_info($1, $2)",
                &[(queue, Type::TEXT), (consumer, Type::TEXT)],
            )
            .map_err(Error::from)?;
        let Some(row) = row else { return Err(no_consumer(queue, consumer).into()) };
        let position: Option<i64> = row.try_get(0).map_err(Error::from)?;
        let now = match position {
            Some(tick) => find_tick(client, queue, &Which::Id(tick))?,
            None => None,
        };
        let which = Which::read(&self.target, client)?;
        let Some(target) = find_tick(client, queue, &which)? else {
            return Err(which.absent(queue));
        };
        let distance = now.as_ref().map(|now| now.event_seq - target.event_seq);
        let effect = match distance {
            Some(again) if again > 0 => format!("about {again} events come again"),
            Some(skipped) if skipped < 0 => format!("about {} events are skipped", -skipped),
            _ => "no events come again or are skipped".to_owned(),
        };
        if !self.dry_run {
            client
                .query_typed_one(
                    "select pgq.register_consumer_at($1, $2, $3)",
                    &[(queue, Type::TEXT), (consumer, Type::TEXT), (&target.id, Type::INT8)],
                )
                .map_err(Error::from)?;
        }
        let verb = if self.dry_run { "would move" } else { "moved" };
        let from = position.map_or_else(|| "nowhere".to_owned(), |tick| format!("tick {tick}"));
        done(
            global.format(),
            &format!(
                "consumer \"{consumer}\" {verb} from {from} to tick {} of {}: {effect}",
                target.id, target.time
            ),
            &[
                ("queue", json!(queue)),
                ("consumer", json!(consumer)),
                ("from_tick", json!(position)),
                ("to_tick", json!(target.id)),
                ("to_time", json!(target.time)),
                ("events_again", json!(distance)),
                ("dry_run", json!(self.dry_run)),
            ],
        )?;
        Ok(())
    }
}

/// A time as the server writes it: given as a time, or as an interval back from now.
fn moment(client: &mut Client, text: &str) -> Result<String, Error> {
    let mut ask = |sql: &str| -> Result<Option<String>, Error> {
        Ok(client.query_typed_one(sql, &[(&text, Type::TEXT)])?.try_get(0)?)
    };
    let error = match ask("select $1::timestamp with time zone::pg_catalog.text") {
        Ok(time) => return Ok(time.unwrap_or_default()),
        Err(error) => error,
    };
    const PAST: &str = "
        select case when $1::interval operator(pg_catalog.<) '0'
                    then (pg_catalog.now() operator(pg_catalog.+) $1::interval)::pg_catalog.text
                end";
    match ask(PAST) {
        Ok(Some(time)) => Ok(time),
        Ok(None) => {
            Err(Error::Config(format!("--time {text} is not in the past: say '{text} ago'")))
        }
        Err(_) => Err(error),
    }
}

fn find_tick(client: &mut Client, queue: &str, which: &Which) -> Result<Option<Tick>, Error> {
    let (how, value) = which.parameters();
    let row = client.query_typed_opt(
        FIND_TICK,
        &[(&queue, Type::TEXT), (&how, Type::TEXT), (&value, Type::TEXT)],
    )?;
    row.map(|row| {
        let time = humantime::format_rfc3339_micros(row.try_get(2)?).to_string();
        Ok(Tick { id: row.try_get(0)?, event_seq: row.try_get(1)?, time })
    })
    .transpose()
}
