//! `pgq tail`: see events as they commit, without a consumer: nothing is held back, nobody's
//! position moves.

use std::time::Duration;

use pgq_client::{Error, ServerError, Stop};
use postgres::types::Type;
use postgres::{Client, IsolationLevel, Row};

use super::missing::no_queue;
use super::output::line;
use super::work::line::{event_of, json_of};
use super::{Exit, Global, signals};

/// Follow a queue's events.
#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// Name of the queue
    queue: String,
    /// Begin with the last N events that are still there
    #[arg(long, short = 'n', default_value_t = 10)]
    lines: i64,
    /// Do not wait for more
    #[arg(long)]
    no_follow: bool,
    /// Seconds between looks
    #[arg(long, default_value_t = 0.5)]
    interval: f64,
}

const COLUMNS: &str = "ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4";

impl Tail {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let mut client = global.connect()?;
        let interval = Duration::try_from_secs_f64(self.interval)
            .map_err(|_| Error::Config("--interval must not be negative".to_owned()))?;
        let table = event_table(&mut client, &self.queue)?;
        let stop = Stop::new();
        signals::stop_by(&stop)?;

        // One snapshot decides what is old and what is new, so that nothing is shown twice or left
        // out.
        let first = format!(
            "select * from (select {COLUMNS} from {table} where ev_owner is null order by ev_id desc limit $1) e order by ev_id"
        );
        let (mut seen, rows) = look(&mut client, &first, &[(&self.lines, Type::INT8)])?;
        print(&rows)?;
        let next = format!(
            "select {COLUMNS} from {table}
              where ev_owner is null
                and ev_txid operator(pg_catalog.>=)
                        pg_catalog.txid_snapshot_xmin($1::pg_catalog.txid_snapshot)
                and not pg_catalog.txid_visible_in_snapshot(
                            ev_txid, $1::pg_catalog.txid_snapshot)
              order by ev_id"
        );
        while !self.no_follow && !stop.sleep(interval) {
            let (now, rows) = look(&mut client, &next, &[(&seen, Type::TEXT)])?;
            print(&rows)?;
            seen = now;
        }
        Ok(Exit::Ok)
    }
}

/// The snapshot, and the rows it sees.
fn look(
    client: &mut Client,
    sql: &str,
    parameters: &[(&(dyn postgres::types::ToSql + Sync), Type)],
) -> Result<(String, Vec<Row>), Error> {
    let mut transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()?;
    let snapshot = transaction
        .query_typed_one("select pg_catalog.txid_current_snapshot()::pg_catalog.text", &[])?
        .try_get(0)?;
    let rows = transaction.query_typed(sql, parameters)?;
    transaction.commit()?;
    Ok((snapshot, rows))
}

fn print(rows: &[Row]) -> anyhow::Result<()> {
    for row in rows {
        line(&json_of(&event_of(row)?))?;
    }
    Ok(())
}

/// The parent of a queue's data tables, quoted. Nobody but its owner can make a table inherit from
/// the template: what does not is no event table, and a view there would run its functions with the
/// rights of whoever looks.
pub(super) fn event_table(client: &mut Client, name: &str) -> Result<String, Error> {
    let row = client.query_typed_opt(
        "select pgq.quote_fqname(q.queue_data_pfx),
                exists (select from pg_catalog.pg_inherits i
                         where i.inhrelid operator(pg_catalog.=) pg_catalog.to_regclass(
                                   pgq.quote_fqname(q.queue_data_pfx))::pg_catalog.oid
                           and i.inhparent operator(pg_catalog.=)
                                   'pgq.event_template'::pg_catalog.regclass::pg_catalog.oid)
           from pgq.queue q
          where q.queue_name operator(pg_catalog.=) $1",
        &[(&name, Type::TEXT)],
    )?;
    match row {
        Some(row) if row.try_get(1)? => Ok(row.try_get(0)?),
        Some(row) => Err(Error::Server(ServerError::not_event_table(row.try_get(0)?))),
        None => Err(no_queue(name)),
    }
}
