//! Begin with a copy: rows that were there before their changes were captured, handed over to the
//! stream of events exactly.
//!
//! The consumer is registered, so that its batches hold every transaction which the copy does not
//! see. The copy reads the source under one snapshot. Then batches are taken, up to the first tick
//! that sees all the copy has seen; of the copied tables only what the snapshot does not see is
//! applied. Rows, changes and the position commit together in the target. Whatever dies before
//! leaves nothing there, and is begun anew.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use pgq_replica::{Applier, not_copied};
use postgres::types::Type;
use postgres::{Client, GenericClient};

use super::copy_table::copy_table;
use super::{RemoteBatch, RemoteConsumer, Target};
use crate::copying;
use crate::cursor::{BatchCursor, Pages};
use crate::dead_letter;
use crate::error::{Error, HandlerError};
use crate::failpoint::{self, Step};
use crate::intake::Intake;
use crate::until_now::SEES_ALL;

/// Pause between looks for a tick, and how long until its absence is said.
const PAUSE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);

impl RemoteConsumer {
    /// Copy all tables whose triggers write into the queue, unless the target has a position of
    /// this consumer already: then it has been done. `applier` says which tables go where;
    /// `handler` applies the changes up to the end of the copy, as in
    /// [`RemoteConsumer::run_batches`], and `set_up` is SQL for the target's transaction. The
    /// number of rows; none when there was nothing to do, or when stopped. Outages are waited out.
    ///
    /// # Errors
    /// As [`RemoteConsumer::run_batches`]; [`Error::Config`] when a table of the target has rows
    /// already.
    pub fn copy_tables<H>(
        &mut self,
        applier: &mut Applier,
        set_up: &str,
        mut handler: H,
    ) -> Result<Option<u64>, Error>
    where
        H: FnMut(&mut Applier, &mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        let Self { intake, target } = self;
        let copied = intake.persist(target, |intake, target| {
            match try_copy(intake, target, applier, set_up, &mut handler) {
                // What a stop broke off has not failed.
                Err(_) if intake.settings.stop.is_requested() => Ok(ControlFlow::Break(None)),
                other => other.map(ControlFlow::Break),
            }
        })?;
        Ok(copied.flatten())
    }
}

fn try_copy<H>(
    intake: &mut Intake,
    target: &mut Target,
    applier: &mut Applier,
    set_up: &str,
    handler: &mut H,
) -> Result<Option<u64>, Error>
where
    H: FnMut(&mut Applier, &mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
{
    intake.prepare_dead_letters()?;
    let Intake { source, subscription, settings, page_size, .. } = intake;
    let Target { session: target, tracking } = target;
    let (stop, dead_queue) = (&settings.stop, settings.dead_letter_queue.as_deref());
    let (queue, consumer) = (&subscription.queue, &subscription.consumer);
    let connector = source.connector().clone();
    let (here, _) = source.get()?;
    let mut there = target.get()?.0.transaction()?;
    tracking.lock(&mut there, consumer)?;
    if tracking.position(&mut there, consumer)?.is_some() {
        log::info!("{consumer}: the target has a position: nothing to copy");
        return Ok(None);
    }
    // Who is not registered would lose what comes while we copy.
    subscription.next_batch(here)?;
    there.batch_execute(set_up)?;
    applier.forget_tables();
    let mut tables = captured_tables(here, queue)?;
    // Events of the others are refused one by one, and nothing of them is copied.
    tables.retain(|table| match applier.may_write(table) {
        Ok(()) => true,
        Err(error) => {
            log::debug!("not copied: {error}");
            false
        }
    });
    // It may take hours, and what a stop finds unfinished is thrown away.
    let cancel = connector.cancel(here);
    let (snapshot, rows) = stop
        .cancellable(cancel, || copy(here, &mut there, applier, &tables))
        .unwrap_or_else(|| Err(stopped()))?;
    failpoint::visit(Step::RowsCopied);

    let filter = after_copy(&tables, &snapshot, settings.filter.as_deref());
    let mut waited = Duration::ZERO;
    loop {
        if stop.is_requested() {
            return Err(stopped());
        }
        let Some(batch) = subscription.next_batch(here)? else {
            // Each request lets the numbers of events that wait look larger.
            if waited.subsec_millis() == 0 {
                ask_for_tick(here, queue)?;
            }
            if waited == PATIENCE && settings.stop_when_empty {
                let reason = "is there a worker? see pgq.queue_health()".to_owned();
                return Err(Error::NoTick { queue: queue.clone(), reason });
            }
            if waited == PATIENCE {
                log::warn!("{consumer}: the copy waits for a tick of queue \"{queue}\"");
            }
            waited += PAUSE;
            stop.sleep(PAUSE);
            continue;
        };
        waited = Duration::ZERO;
        let mut taken = here.transaction()?;
        let cursor = BatchCursor::open(&mut taken, batch.id, Some(&filter), *page_size)?;
        let mut open = RemoteBatch {
            batch: &batch,
            source: &mut taken,
            target: &mut there,
            pages: Pages::new(cursor, settings.on_progress.as_mut()),
            stop,
            dead: dead_queue.map(|_| Vec::new()),
        };
        handler(applier, &mut open).map_err(|source| Error::Handler { event_id: None, source })?;
        let RemoteBatch { source: open_one, pages, dead, .. } = open;
        if let (Some(dead_queue), Some(letters)) = (dead_queue, dead) {
            dead_letter::bury_once(open_one, dead_queue, queue, consumer, letters)?;
        }
        *page_size = pages.close(open_one)?;
        // If the target does not get to its end, all is copied anew, and nothing of this batch
        // is missing then.
        subscription.finish(&mut taken, batch.id)?;
        let is_last = sees_all_of(&mut taken, queue, batch.tick, &snapshot)?;
        taken.commit()?;
        failpoint::visit(Step::FinishCommitted);
        if is_last {
            tracking.set_done(&mut there, consumer, &batch)?;
            failpoint::visit(Step::TrackingNoted);
            there.commit()?;
            failpoint::visit(Step::TargetCommitted);
            return Ok(Some(rows));
        }
    }
}

fn stopped() -> Error {
    Error::Lost("stopped while copying".to_owned())
}

/// Tables with a capture trigger of this queue, as their events name them.
fn captured_tables(client: &mut Client, queue: &str) -> Result<Vec<String>, Error> {
    let rows = client.query_typed(include_str!("captured.sql"), &[(&queue, Type::TEXT)])?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Copy under one snapshot; the snapshot, and how many rows.
fn copy(
    here: &mut Client,
    there: &mut postgres::Transaction<'_>,
    applier: &mut Applier,
    tables: &[String],
) -> Result<(String, u64), Error> {
    let (mut seen, snapshot) = copying::begin(here, tables)?;
    let mut rows = 0;
    let mut begun = BTreeSet::new();
    for table in tables {
        rows += copy_table(applier, &mut seen, there, table, &mut begun)?.unwrap_or(0);
    }
    seen.commit()?;
    Ok((snapshot, rows))
}

/// The filter for batches that reach into the copy: of copied tables only what it has not seen, of
/// all else everything.
fn after_copy(tables: &[String], snapshot: &str, filter: Option<&str>) -> String {
    let tables: Vec<_> = tables.iter().map(String::as_str).collect();
    let mut sql = match tables.is_empty() {
        true => "true".to_owned(),
        false => not_copied(&tables, snapshot),
    };
    if let Some(filter) = filter {
        sql.push_str(&format!(" and ({filter})"));
    }
    sql
}

/// Does the tick see every transaction that the snapshot sees? No later tick sees less.
pub(crate) fn sees_all_of(
    client: &mut impl GenericClient,
    queue: &str,
    tick: i64,
    snapshot: &str,
) -> Result<bool, Error> {
    let sql = format!(
        "select {SEES_ALL}
           from pgq.tick t
                join pgq.queue q on q.queue_id operator(pg_catalog.=) t.tick_queue
          where q.queue_name operator(pg_catalog.=) $1
            and t.tick_id operator(pg_catalog.=) $2"
    );
    let row = client.query_typed_opt(
        &sql,
        &[(&queue, Type::TEXT), (&tick, Type::INT8), (&snapshot, Type::TEXT)],
    )?;
    row.map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

/// Whoever may tick does it at once; the others wait for the worker.
pub(crate) fn ask_for_tick(client: &mut Client, queue: &str) -> Result<(), Error> {
    client.query_typed_one("select pgq.force_tick($1)", &[(&queue, Type::TEXT)])?;
    if let Err(error) = client.query_typed("select pgq.ticker($1)", &[(&queue, Type::TEXT)]) {
        log::debug!("ticker: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::after_copy;

    #[test]
    fn only_copied_tables_are_filtered() {
        let tables = ["public.a'b".to_owned(), "x.y".to_owned()];
        assert_eq!(
            after_copy(&tables, "1:2:", Some("ev_type = 'x' or true")),
            "not (coalesce(ev_extra1, '') operator(pg_catalog.=) any (array['public.a''b', 'x.y']) and \
             pg_catalog.txid_visible_in_snapshot(ev_txid, '1:2:'::pg_catalog.txid_snapshot)) \
             and (ev_type = 'x' or true)"
        );
        assert_eq!(after_copy(&[], "1:2:", None), "true");
    }
}
