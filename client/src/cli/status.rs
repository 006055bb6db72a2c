//! `pgq status`: findings first, then queues and consumers, then members and nodes.

use pgq_client::Error;
use postgres::Client;
use postgres::types::Type;

use super::companions::Companions;
use super::output::{Format, Rows, line};
use super::{Exit, Global};

/// Say whether the queues are healthy.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Consumer lag above which a server without pgq.queue_health() is reported
    #[arg(long, default_value = "1 hour", value_name = "INTERVAL")]
    max_lag: String,
}

const HEALTH: &str = "
select severity, coalesce(queue_name, '(all)') as queue, code, finding, since::text as since, remedy
  from pgq.queue_health()
 order by case severity when 'critical' then 1 when 'warning' then 2 else 3 end, 2, 3";

/// What can be seen from outside on PgQ 3.5.
const PLAIN_HEALTH: &str = "
select 'critical' as severity, i.queue_name as queue, 'not_ticking' as code,
       'no tick for ' || date_trunc('seconds', i.ticker_lag) as finding, (now() - i.ticker_lag)::text as since,
       'run pgqd, pgq ticker, or the worker of PgQ 4' as remedy
  from pgq.get_queue_info() i
 where not i.queue_ticker_paused and not i.queue_external_ticker
   and i.ticker_lag > greatest(2 * i.queue_ticker_idle_period, interval '10 seconds')
union all
select 'warning', i.queue_name, 'paused', 'the ticker is paused', null, 'pgq queue resume ' || i.queue_name
  from pgq.get_queue_info() i where i.queue_ticker_paused
union all
select 'warning', c.queue_name, 'consumer_lag',
       'consumer \"' || c.consumer_name || '\" is ' || date_trunc('seconds', c.lag) || ' behind', (now() - c.last_seen)::text,
       'start it, or pgq consumer remove ' || c.queue_name || ' ' || c.consumer_name
  from pgq.get_consumer_info() c where c.lag > $1::interval and c.consumer_name <> 'dead_letters'
 order by 1, 2, 3";

impl Status {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let format = global.format();
        let findings = if has_function(&mut client, "queue_health")? {
            Rows::query(&mut client, HEALTH, &[])?
        } else {
            Rows::query(&mut client, PLAIN_HEALTH, &[(&self.max_lag, Type::TEXT)])?
        };
        let healthy = !findings.rows.iter().any(|row| {
            row.first().and_then(|severity| severity.as_str()).is_some_and(|text| text != "info")
        });
        let companions = Companions::load(&mut client)?;
        let healthy = healthy && companions.is_healthy();
        match format {
            Format::Json => {
                findings.print(format)?;
                for table in companions.tables() {
                    table.print(format)?;
                }
            }
            Format::Table => {
                if findings.rows.is_empty() {
                    line("healthy: nothing to report")?;
                } else {
                    findings.print(format)?;
                }
                line("")?;
                Rows::query(&mut client, super::top::QUEUES, &[])?.print(format)?;
                line("")?;
                Rows::query(&mut client, super::consumer::LIST, &[(&None::<String>, Type::TEXT)])?
                    .print(format)?;
                for table in companions.tables() {
                    line("")?;
                    table.print(format)?;
                }
            }
        }
        Ok(if healthy { Exit::Ok } else { Exit::Unhealthy })
    }
}

/// Does schema pgq have a function of this name?
pub(super) fn has_function(client: &mut Client, name: &str) -> Result<bool, Error> {
    let row = client.query_typed_one(
        "select exists (select from pg_catalog.pg_proc
                         where pronamespace = pg_catalog.to_regnamespace('pgq')::oid and proname = $1)",
        &[(&name, Type::TEXT)],
    )?;
    Ok(row.try_get(0)?)
}
