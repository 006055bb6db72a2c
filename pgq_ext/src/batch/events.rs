//! `pgq.get_batch_events`: the events of a batch, straight from the event tables' indexes.

use pgq_core::batch_sql::batch_sql;

use super::open_batch::OpenBatch;
use crate::error::PgqError;
use crate::event::queue_cache::EVENT_COLUMNS;
use crate::pg::call::{Call, Returned};
use crate::pg::catalog;
use crate::pg::index_scan::{IndexedTable, ScannedRow};
use crate::pg::row_store::RowStore;

/// Offsets of `ev_txid` and `ev_owner` in an event table.
const TXID: usize = 2;
const OWNER: usize = 3;
/// Offsets of the result's columns: all but `ev_owner`.
const RESULT: [usize; 10] = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10];

/// `pgq.get_batch_events(x_batch_id)`.
pub(crate) fn get_batch_events(call: &Call) -> Result<Returned, PgqError> {
    let batch = OpenBatch::load(call.int8(0))?;
    let mut rows = RowStore::begin(call);
    let tables: Option<Vec<_>> = batch.tables.iter().map(|name| open(name)).collect();
    match tables {
        Some(tables) => {
            for table in &tables {
                scan(&batch, table, &mut rows);
            }
        }
        // An event table that somebody changed: ask the planner instead.
        None => {
            let sql = batch_sql(batch.reference, &batch.window, &batch.tables)
                .ok_or(PgqError::NoBatchSql { batch: call.int8(0).unwrap_or_default() })?;
            rows.fill_from_query::<{ RESULT.len() }>(&sql)?;
        }
    }
    rows.finish();
    Ok(Returned::Done)
}

/// The event table with its index on `ev_txid`; None when it is not as `pgq.create_queue` made it.
fn open(name: &str) -> Option<IndexedTable> {
    let oid = catalog::relation_by_text(name)?;
    IndexedTable::open(oid, &EVENT_COLUMNS, TXID)
}

fn scan(batch: &OpenBatch, table: &IndexedTable, rows: &mut RowStore) {
    let subscription = batch.reference.subscription;
    let is_for_us = |row: &ScannedRow| row.int4(OWNER).is_none_or(|owner| owner == subscription);
    // Events of one transaction lie together: its visibility is worked out once.
    let (mut last_xid, mut last_contained) = (None, false);
    table.for_each_in_range(batch.window.low, batch.window.high, |row| {
        let Some(xid) = row.int8(TXID) else { return };
        if last_xid != Some(xid) {
            (last_xid, last_contained) = (Some(xid), batch.window.contains(xid));
        }
        if last_contained && is_for_us(row) {
            rows.push(row, &RESULT);
        }
    });
    for &xid in &batch.window.old {
        table.for_each_in_range(xid, xid, |row| {
            if is_for_us(row) {
                rows.push(row, &RESULT);
            }
        });
    }
}
