//! Letters in the server's own table, which `pgq.nack` fills (PgQ 4.1).

use std::collections::BTreeMap;

use postgres::types::Type;
use postgres::{GenericClient, Transaction};

use super::{DeadLetter, Decision, Origin};
use crate::error::Error;
use crate::event::NewEvent;
use crate::features::Features;

/// Letters of a queue's consumers; none where the server has no such table. Needs pgq_reader.
///
/// # Errors
/// [`Error::Server`]: no such queue (42704).
pub(super) fn list(
    client: &mut impl GenericClient,
    queue: &str,
) -> Result<Option<Vec<DeadLetter>>, Error> {
    if !Features::has_function(client, "dead_letters")? {
        return Ok(None);
    }
    let rows = client.query_typed(
        "select d.consumer_name, d.msg_id,
                pg_catalog.to_char(pg_catalog.timezone('UTC', d.created_at),
                                   'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                d.retry_count, coalesce(d.reason, ''),
                pg_catalog.to_char(pg_catalog.timezone('UTC', d.last_failed),
                                   'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
                d.type, d.payload, d.key, d.headers::pg_catalog.text, d.extra3, d.extra4
           from pgq.dead_letters($1) d",
        &[(&queue, Type::TEXT)],
    )?;
    let letter = |row: &postgres::Row| -> Result<DeadLetter, Error> {
        let retries: i32 = row.try_get(3)?;
        Ok(DeadLetter {
            origin: Origin {
                queue: queue.to_owned(),
                consumer: row.try_get(0)?,
                ev_id: row.try_get(1)?,
                ev_time: row.try_get(2)?,
                attempts: retries.unsigned_abs().saturating_add(1),
                error: row.try_get(4)?,
                failed_at: row.try_get(5)?,
            },
            event: NewEvent {
                ev_type: row.try_get(6)?,
                ev_data: row.try_get(7)?,
                ev_extra1: row.try_get(8)?,
                ev_extra2: row.try_get(9)?,
                ev_extra3: row.try_get(10)?,
                ev_extra4: row.try_get(11)?,
            },
        })
    };
    rows.iter().map(letter).collect::<Result<_, _>>().map(Some)
}

/// Do as is decided about letters of the table; how many were not kept.
pub(super) fn settle(
    transaction: &mut Transaction<'_>,
    letters: &[DeadLetter],
    decide: &mut impl FnMut(&DeadLetter) -> Decision,
) -> Result<u64, Error> {
    let mut calls: BTreeMap<(&str, &str, &str), Vec<i64>> = BTreeMap::new();
    for letter in letters {
        let call = match decide(letter) {
            Decision::Keep => continue,
            Decision::Replay => "select pgq.dead_replay($1, $2, $3)",
            Decision::Purge => "select pgq.dead_purge($1, $2, '0', $3)",
        };
        let Origin { queue, consumer, ev_id, .. } = &letter.origin;
        calls.entry((call, queue, consumer)).or_default().push(*ev_id);
    }
    let mut settled = 0;
    for ((call, queue, consumer), ids) in calls {
        let row = transaction.query_typed_one(
            call,
            &[(&queue, Type::TEXT), (&consumer, Type::TEXT), (&ids, Type::INT8_ARRAY)],
        )?;
        settled += row.try_get::<_, i64>(0)?.unsigned_abs();
    }
    Ok(settled)
}
