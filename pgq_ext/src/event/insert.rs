//! Storing events.
//!
//! # Order is correctness
//!
//! A rotation switches the queue's current table in one transaction (step 1) and records the id of
//! a second one (step 2). Readers look for events of transactions above step 2 in the new table
//! only. So a writer must be sure that, with a transaction id above step 2, it knows of the switch:
//! it assigns its transaction id *first*, then locks the event table, which processes
//! invalidations, and then looks whether what it knew of the queue still holds. Any other order
//! loses events, as PgQ 3.5 does under REPEATABLE READ. Where nothing tells of a switch, the
//! queue's row is read again at that point.

use std::rc::Rc;

use super::limit;
use super::queue_cache::{self, Queue};
use crate::error::PgqError;
use crate::event_table::{COLUMNS, NewEvent, Row};
use pgq_pg::heap::WritableTable;
use pgq_pg::sql::{self, Under};
use pgq_pg::text::Text;
use pgq_pg::{catalog, hot, sequence, watch, xact};

/// Store one event; its id.
///
/// The queue's id sequence is advanced before anything is checked, also for an event that brings
/// its id.
pub(crate) fn insert_event(queue_name: Text, event: &NewEvent) -> Result<i64, PgqError> {
    let mut queue = find(queue_name)?;
    let begun = hot::begin(queue.target());
    let mut table = begun.table;
    // Seldom: the queue changed between the look-up and the lock, or may have.
    let table = loop {
        match table {
            Some(table) if queue.is_current() => break table,
            Some(_) | None => {}
        }
        queue = find(queue_name)?;
        table = hot::open(queue.target());
    };
    check_admission(queue_name, &queue, begun.xid, 1)?;
    let id = event.id.unwrap_or(begun.next_value);
    let row = event.row(id, begun.xid, begun.now);
    match &queue.plain {
        Some(plain) => table.insert(plain, &row),
        None => store_through_executor(&queue, &mut std::iter::once(row))?,
    }
    pgq_ticker_bgw::mark_dirty(queue.id);
    Ok(id)
}

/// Store many events of one call, and tell the id of each; how many. All or none are stored.
pub(crate) fn insert_events(
    queue_name: Text,
    count: usize,
    events: &mut dyn Iterator<Item = NewEvent>,
    tell: &mut dyn FnMut(i64),
) -> Result<i64, PgqError> {
    let xid = xact::assign_top_xid();
    watch::catch_up();
    let queue = find(queue_name)?;
    let (queue, table) = lock_current_table(queue_name, queue)?;
    check_admission(queue_name, &queue, xid, count)?;
    let now = xact::now();
    let mut stored: i64 = 0;
    let mut rows = events.map(|event| {
        stored += 1;
        let id = sequence::nextval(queue.event_sequence);
        tell(id);
        event.row(id, xid, now)
    });
    match &queue.plain {
        Some(plain) => {
            table.check_insert_privilege();
            table.insert_many(plain, &mut rows);
        }
        None => store_through_executor(&queue, &mut rows)?,
    }
    if stored > 0 {
        pgq_ticker_bgw::mark_dirty(queue.id);
    }
    Ok(stored)
}

/// Name of the table that this transaction may write events into itself, with COPY for example.
///
/// The table is locked as an insertion would lock it, so the answer stays right until the
/// transaction ends.
pub(crate) fn current_event_table(queue_name: Option<Text>) -> Result<Text, PgqError> {
    let not_found = || PgqError::EventQueueNotFound {
        queue: queue_name.map_or_else(|| "NULL".to_owned(), Text::to_display),
    };
    let queue_name = queue_name.ok_or_else(not_found)?;
    xact::assign_top_xid();
    watch::catch_up();
    let queue = queue_cache::lookup(queue_name)?.ok_or_else(not_found)?;
    let (queue, _table) = lock_current_table(queue_name, queue)?;
    if queue.insert_disabled && !xact::is_replica_role() {
        return Err(PgqError::WritingDisabled { queue: queue_name.to_display() });
    }
    pgq_ticker_bgw::mark_dirty(queue.id);
    Ok(Text::new(queue.table_name.as_bytes()))
}

fn find(queue_name: Text) -> Result<Rc<Queue>, PgqError> {
    queue_cache::lookup(queue_name)?
        .ok_or_else(|| PgqError::NoSuchQueue { queue: queue_name.to_display() })
}

/// Lock the queue's event table and make sure that it still is the current one.
fn lock_current_table(
    queue_name: Text,
    mut queue: Rc<Queue>,
) -> Result<(Rc<Queue>, WritableTable), PgqError> {
    loop {
        if let Some(table) = WritableTable::open(queue.table)
            && queue.is_current()
        {
            return Ok((queue, table));
        }
        queue = find(queue_name)?;
    }
}

fn check_admission(
    queue_name: Text,
    queue: &Queue,
    xid: i64,
    events: usize,
) -> Result<(), PgqError> {
    if queue.insert_disabled && !xact::is_replica_role() {
        return Err(PgqError::InsertDisabled { queue: queue_name.to_display() });
    }
    if !limit::admits(queue.id, queue.current_table, xid, queue.transaction_limit, events) {
        return Err(PgqError::TransactionLimit {
            queue: queue_name.to_display(),
            limit: queue.transaction_limit.expect("without a limit all are admitted"),
        });
    }
    Ok(())
}

/// Store rows through SQL, for an event table with triggers, rules, row security, constraints or
/// unusual indexes.
fn store_through_executor(
    queue: &Queue,
    rows: &mut dyn Iterator<Item = Row>,
) -> Result<(), PgqError> {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let sql = format!(
        "insert into {} ({}) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        catalog::quoted_name(queue.table),
        columns.join(", ")
    );
    let types = COLUMNS.map(|(_, oid)| oid);
    sql::connected(|connection| {
        let statement = connection.prepare(sql.as_bytes(), &types)?;
        for row in rows {
            statement.run(connection, &row, Under::Own)?;
        }
        Ok(())
    })
}
