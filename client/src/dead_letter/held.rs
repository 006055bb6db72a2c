//! The letters that a dead-letter queue holds.

use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, GenericClient, Transaction};

use super::{DeadLetter, Decision, HOLDER};
use crate::cursor::{BatchCursor, PageSize};
use crate::error::{Error, ServerError};
use crate::event::Event;
use crate::producer::Producer;
use crate::stop::Stop;
use crate::subscription::Subscription;

/// Letters that are held: committed after the holder's position. None when the queue does not exist
/// or is no dead-letter queue.
///
/// # Errors
/// [`Error::Server`]: its table is none of events (XX001).
pub(super) fn list(
    client: &mut impl GenericClient,
    dead_queue: &str,
) -> Result<Option<Vec<DeadLetter>>, Error> {
    let place = client.query_typed_opt(
        "select pgq.quote_fqname(q.queue_data_pfx), t.tick_snapshot::pg_catalog.text,
                exists (select from pg_catalog.pg_inherits i
                         where i.inhrelid operator(pg_catalog.=) pg_catalog.to_regclass(
                                   pgq.quote_fqname(q.queue_data_pfx))::pg_catalog.oid
                           and i.inhparent operator(pg_catalog.=)
                                   'pgq.event_template'::pg_catalog.regclass::pg_catalog.oid)
           from pgq.queue q
                join pgq.subscription s on s.sub_queue operator(pg_catalog.=) q.queue_id
                join pgq.consumer c on c.co_id operator(pg_catalog.=) s.sub_consumer
                join pgq.tick t on t.tick_queue operator(pg_catalog.=) q.queue_id
                               and t.tick_id operator(pg_catalog.=) s.sub_last_tick
          where q.queue_name operator(pg_catalog.=) $1
            and c.co_name operator(pg_catalog.=) $2",
        &[(&dead_queue, Type::TEXT), (&HOLDER, Type::TEXT)],
    )?;
    let Some(place) = place else { return Ok(None) };
    let table: String = place.try_get(0)?;
    if !place.try_get(2)? {
        // Letters that cannot be seen are not none.
        return Err(Error::Server(ServerError::not_event_table(&table)));
    }
    let snapshot: String = place.try_get(1)?;
    let rows = client.query_typed(
        &format!(
            "select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
               from {table}
              where ev_owner is null
                and ev_txid operator(pg_catalog.>=)
                        pg_catalog.txid_snapshot_xmin($1::pg_catalog.txid_snapshot)
                and not pg_catalog.txid_visible_in_snapshot(
                            ev_txid, $1::pg_catalog.txid_snapshot)
              order by ev_id"
        ),
        &[(&snapshot, Type::TEXT)],
    )?;
    let mut letters = Vec::with_capacity(rows.len());
    for row in &rows {
        match DeadLetter::from_event(Event::from_row(row)?) {
            Ok(letter) => letters.push(letter),
            // Whoever may insert events can put anything there; that must not hide the letters.
            Err(error) => log::warn!("queue \"{dead_queue}\": {error}"),
        }
    }
    Ok(Some(letters))
}

/// Go through all letters and do as is decided; how many were not kept. Letters that stay are
/// inserted again behind, in the same transaction, so that none is lost or doubled.
///
/// Letters must have been ticked to be reached: [`wait_for_tick`].
pub(super) fn settle(
    transaction: &mut Transaction<'_>,
    dead_queue: &str,
    decide: &mut impl FnMut(&DeadLetter) -> Decision,
) -> Result<u64, Error> {
    let subscription = Subscription::new(dead_queue, HOLDER);
    let mut kept = Vec::new();
    let mut settled = 0;
    let mut size = PageSize::at_most(1_000);
    while let Some(batch) = subscription.next_batch(transaction)? {
        let mut cursor = BatchCursor::open(transaction, batch.id, None, size)?;
        while let Some(page) = cursor.next_page(transaction)? {
            for event in page {
                let Ok(letter) = DeadLetter::from_event(event.clone()) else {
                    kept.push(event.into());
                    continue;
                };
                match decide(&letter) {
                    Decision::Keep => kept.push(letter.to_event()?),
                    Decision::Purge => settled += 1,
                    Decision::Replay => {
                        replay(transaction, &letter)?;
                        settled += 1;
                    }
                }
            }
        }
        size = cursor.close(transaction)?;
        subscription.finish(transaction, batch.id)?;
    }
    Producer::new(dead_queue).insert_events(transaction, &kept)?;
    Ok(settled)
}

/// Have a tick made that comes after all letters of now.
pub(super) fn wait_for_tick(
    client: &mut Client,
    dead_queue: &str,
    patience: Duration,
) -> Result<(), Error> {
    let row = client.query_typed_one("select pgq.force_tick($1)", &[(&dead_queue, Type::TEXT)])?;
    let before: Option<i64> = row.try_get(0)?;
    // Whoever may tick does it at once; the others wait for the worker.
    let ticked = client.query_typed("select pgq.ticker($1)", &[(&dead_queue, Type::TEXT)]);
    if let Err(error) = ticked {
        log::debug!("ticker: {error}");
    }
    let pause = Stop::new();
    let end = std::time::Instant::now() + patience;
    loop {
        let row = client.query_typed_one(
            "select last_tick_id from pgq.get_queue_info($1)",
            &[(&dead_queue, Type::TEXT)],
        )?;
        if row.try_get::<_, Option<i64>>(0)? != before || std::time::Instant::now() >= end {
            return Ok(());
        }
        pause.sleep(Duration::from_millis(100));
    }
}

/// Into the retry queue of its consumer, due at once.
fn replay(transaction: &mut Transaction<'_>, letter: &DeadLetter) -> Result<(), Error> {
    let origin = &letter.origin;
    let [ev_type, data, extra1, extra2, extra3, extra4] = letter.event.fields();
    transaction.execute_typed(
        "select pgq.event_retry_raw(
                    $1, $2, pg_catalog.now(), $3, $4::timestamp with time zone, null,
                    $5, $6, $7, $8, $9, $10)",
        &[
            (&origin.queue, Type::TEXT),
            (&origin.consumer, Type::TEXT),
            (&origin.ev_id, Type::INT8),
            (&origin.ev_time, Type::TEXT),
            (&ev_type, Type::TEXT),
            (&data, Type::TEXT),
            (&extra1, Type::TEXT),
            (&extra2, Type::TEXT),
            (&extra3, Type::TEXT),
            (&extra4, Type::TEXT),
        ],
    )?;
    Ok(())
}
