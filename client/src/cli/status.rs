//! `pgq status`: findings first, then queues and consumers, then members and nodes.

use pgq_client::{Error, Features};
use postgres::Client;
use postgres::types::Type;

use super::companions::Companions;
use super::output::{Format, Rows, line, write};
use super::{Exit, Global, colour, views};

/// Say whether the queues are healthy.
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Consumer lag above which a server without pgq.queue_health() is reported
    #[arg(long, default_value = "1 hour", value_name = "INTERVAL")]
    max_lag: String,
}

const HEALTH: &str = "
select severity, coalesce(queue_name, '(all)') as queue, code, finding, since, remedy
  from pgq.queue_health()
 order by case when severity operator(pg_catalog.=) 'critical' then 1
               when severity operator(pg_catalog.=) 'warning' then 2
               else 3 end,
          2, 3";

/// What can be seen from outside on PgQ 3.5.
const PLAIN_HEALTH: &str = "
select 'critical' as severity, i.queue_name as queue, 'not_ticking' as code,
       pg_catalog.concat('no tick for ', pg_catalog.date_trunc('seconds', i.ticker_lag)) as finding,
       pg_catalog.now() operator(pg_catalog.-) i.ticker_lag as since,
       'run pgqd, pgq ticker, or the worker of PgQ 4' as remedy
  from pgq.get_queue_info() i
 where not i.queue_ticker_paused and not i.queue_external_ticker
   and i.ticker_lag operator(pg_catalog.>)
           greatest(2 operator(pg_catalog.*) i.queue_ticker_idle_period, interval '10 seconds')
union all
select 'warning', i.queue_name, 'paused', 'the ticker is paused', null,
       pg_catalog.concat('pgq queue resume ', i.queue_name)
  from pgq.get_queue_info() i where i.queue_ticker_paused
union all
select 'warning', c.queue_name, 'consumer_lag',
       pg_catalog.concat('consumer \"', c.consumer_name, '\" is ',
                         pg_catalog.date_trunc('seconds', c.lag), ' behind'),
       pg_catalog.now() operator(pg_catalog.-) c.last_seen,
       pg_catalog.concat('start it; pgq consumer remove ', c.queue_name, ' ', c.consumer_name,
                         ' would give up what it has not read')
  from pgq.get_consumer_info() c
 where c.lag operator(pg_catalog.>) $1::interval
   and c.consumer_name operator(pg_catalog.<>) 'dead_letters'
 order by 1, 2, 3";

impl Status {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let format = global.format();
        let findings = findings(&mut client, &self.max_lag)?;
        let healthy = !findings.rows.iter().any(|row| {
            row.first().and_then(|severity| severity.as_str()).is_some_and(|text| text != "info")
        });
        let companions = Companions::load(&mut client)?;
        let healthy = healthy && companions.is_healthy();
        let queues = Rows::query(&mut client, views::QUEUES, &[])?.of_kind("queue");
        let of_all: &(dyn postgres::types::ToSql + Sync) = &None::<String>;
        let consumers = Rows::query(&mut client, views::CONSUMERS, &[(of_all, Type::TEXT)])?
            .of_kind("consumer");
        let tables = [&queues, &consumers].into_iter().chain(companions.tables());
        match format {
            Format::Json => {
                for table in std::iter::once(&findings).chain(tables) {
                    table.print(format)?;
                }
            }
            Format::Table => {
                if findings.rows.is_empty() {
                    line("healthy: nothing to report")?;
                } else {
                    let colours = colour::on_stdout();
                    for (index, text) in findings.lines().iter().enumerate() {
                        let severity =
                            index.checked_sub(1).and_then(|row| severity(&findings, row));
                        write(&format!("{}\n", colour::by_severity(text, severity, colours)))?;
                    }
                }
                for table in tables {
                    line("")?;
                    table.print(format)?;
                }
            }
        }
        Ok(if healthy { Exit::Ok } else { Exit::Unhealthy })
    }
}

/// The findings of this database, the worst first.
pub(super) fn findings(client: &mut Client, max_lag: &str) -> Result<Rows, Error> {
    let findings = if Features::has_function(client, "queue_health")? {
        Rows::query(client, HEALTH, &[])?
    } else {
        Rows::query(client, PLAIN_HEALTH, &[(&max_lag, Type::TEXT)])?
    };
    Ok(findings.of_kind("finding"))
}

/// The severity in a row of findings.
pub(super) fn severity(findings: &Rows, row: usize) -> Option<&str> {
    findings.rows.get(row)?.first()?.as_str()
}
