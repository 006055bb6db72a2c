//! A run that ends: everything that was committed before it began comes, and nothing is waited for
//! beyond that.
//!
//! Events reach consumers by ticks, so a tick is needed that sees whatever was committed at the
//! beginning. Waiting in the server asks for one; where nobody makes ticks, that is said after a
//! while.

use std::time::{Duration, Instant};

use postgres::Client;
use postgres::types::Type;

use crate::error::Error;

/// How long to wait for a tick beyond the time that the queue's settings allow.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait before looking again.
const PAUSE: Duration = Duration::from_secs(1);

/// Where the events are, which of them have a tick, and what else decides whether one will come.
/// The estimate by the sequence is for those who may not look into event tables.
const STATE: &str = "
select pgq.quote_fqname(q.queue_data_pfx), t.tick_snapshot::pg_catalog.text, q.queue_ticker_paused,
       extract(epoch from q.queue_ticker_max_lag)::double precision,
       pg_catalog.has_table_privilege(pgq.quote_fqname(q.queue_data_pfx), 'select'),
       pgq.seq_getval(q.queue_event_seq) operator(pg_catalog.>) t.tick_event_seq
  from pgq.queue q,
       lateral (select n.tick_snapshot, n.tick_event_seq
                  from pgq.tick n
                 where n.tick_queue operator(pg_catalog.=) q.queue_id
                 order by n.tick_id desc
                 limit 1) t
 where q.queue_name operator(pg_catalog.=) $1";

/// True where tick `t` sees every transaction that snapshot `$3` sees.
pub(crate) const SEES_ALL: &str = "
pg_catalog.txid_snapshot_xmax(t.tick_snapshot) operator(pg_catalog.>=)
    pg_catalog.txid_snapshot_xmax($3::pg_catalog.txid_snapshot)
and not exists (select
                  from pg_catalog.txid_snapshot_xip(t.tick_snapshot) x (txid)
                 where pg_catalog.txid_visible_in_snapshot(x.txid, $3::pg_catalog.txid_snapshot))";

const WHY: &str = "
select pg_catalog.concat_ws('. ', h.finding, h.remedy)
  from pgq.queue_health() h
 where coalesce(h.queue_name, $1) operator(pg_catalog.=) $1
   and h.code operator(pg_catalog.=) any (
           '{standby,worker_not_running,paused,tick_failed,not_ticking,no_external_tick}')
 order by h.code operator(pg_catalog.<>) 'paused', h.queue_name nulls first, h.code
 limit 1";

pub(crate) struct UntilNow {
    /// The snapshot at the beginning.
    begin: String,
    /// Since when a tick is missing.
    waits_since: Option<Instant>,
    reached: bool,
}

/// What the newest tick sees of the events at the beginning.
pub(crate) enum Reach {
    /// All of them.
    Reached,
    /// Not all: look again after so long.
    Wait(Duration),
}

impl UntilNow {
    pub(crate) fn begin(client: &mut Client) -> Result<Self, Error> {
        let row = client
            .query_typed_one("select pg_catalog.txid_current_snapshot()::pg_catalog.text", &[])?;
        Ok(Self { begin: row.try_get(0)?, waits_since: None, reached: false })
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.reached
    }

    /// Take what there is for all.
    pub(crate) fn give_up(&mut self) -> Reach {
        self.reached = true;
        Reach::Reached
    }

    /// True when the consumer has finished all that the beginning sees: on a busy queue there is
    /// always another batch.
    pub(crate) fn is_past(
        &self,
        client: &mut Client,
        queue: &str,
        consumer: &str,
    ) -> Result<bool, Error> {
        let sql = format!(
            "select exists (
                 select
                   from pgq.get_consumer_info($1, $2) c
                        join pgq.queue q on q.queue_name operator(pg_catalog.=) c.queue_name
                        join pgq.tick t on t.tick_queue operator(pg_catalog.=) q.queue_id
                                       and t.tick_id operator(pg_catalog.=) c.last_tick
                  where c.current_batch is null
                    and {SEES_ALL})"
        );
        let parameters: [(&(dyn postgres::types::ToSql + Sync), Type); 3] =
            [(&queue, Type::TEXT), (&consumer, Type::TEXT), (&self.begin, Type::TEXT)];
        Ok(client.query_typed_one(&sql, &parameters)?.try_get(0)?)
    }

    /// Compare the queue's newest tick with the beginning.
    ///
    /// # Errors
    /// [`Error::NoTick`] when a tick is missing and none is to come.
    pub(crate) fn look(&mut self, client: &mut Client, queue: &str) -> Result<Reach, Error> {
        let Some(row) = client.query_typed_opt(STATE, &[(&queue, Type::TEXT)])? else {
            return Ok(self.give_up());
        };
        let (table, tick): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let paused: bool = row.try_get(2)?;
        let max_lag: f64 = row.try_get(3)?;
        let waiting = if row.try_get(4)? {
            self.sees_waiting(client, &table, &tick)?
        } else {
            row.try_get::<_, Option<bool>>(5)?.unwrap_or(false)
        };
        if !waiting {
            if paused {
                log::warn!("queue \"{queue}\" is paused: what comes now reaches nobody");
            }
            return Ok(self.give_up());
        }
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let patience = PATIENCE + Duration::try_from_secs_f64(max_lag).unwrap_or_default();
        if paused || since.elapsed() >= patience {
            let reason = why(client, queue, paused)?;
            return Err(Error::NoTick { queue: queue.to_owned(), reason });
        }
        Ok(Reach::Wait(PAUSE))
    }

    /// True when an event that the beginning sees has no tick.
    fn sees_waiting(&self, client: &mut Client, table: &str, tick: &str) -> Result<bool, Error> {
        let sql = format!(
            "select exists (
                 select from {table}
                  where ev_txid operator(pg_catalog.>=)
                            pg_catalog.txid_snapshot_xmin($1::pg_catalog.txid_snapshot)
                    and not pg_catalog.txid_visible_in_snapshot(
                            ev_txid, $1::pg_catalog.txid_snapshot)
                    and pg_catalog.txid_visible_in_snapshot(ev_txid, $2::pg_catalog.txid_snapshot))"
        );
        let parameters: [(&(dyn postgres::types::ToSql + Sync), Type); 2] =
            [(&tick, Type::TEXT), (&self.begin, Type::TEXT)];
        Ok(client.query_typed_one(&sql, &parameters)?.try_get(0)?)
    }
}

/// Why no tick comes, as far as the server can tell.
fn why(client: &mut Client, queue: &str, paused: bool) -> Result<String, Error> {
    let knows = client.query_typed_one(
        "select coalesce(pg_catalog.has_function_privilege(
                    pg_catalog.to_regprocedure('pgq.queue_health()')::pg_catalog.oid,
                    'execute'), false)",
        &[],
    )?;
    if knows.try_get(0)?
        && let Some(row) = client.query_typed_opt(WHY, &[(&queue, Type::TEXT)])?
    {
        let words: String = row.try_get(0)?;
        return Ok(words.trim_end_matches('.').to_owned());
    }
    Ok(match paused {
        true => "the queue is paused".to_owned(),
        false => "neither a worker nor pgqd makes ticks here".to_owned(),
    })
}
