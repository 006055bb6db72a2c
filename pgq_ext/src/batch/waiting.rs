//! `pgq._find_waiting`: whether an event waits for a tick.

use std::ops::ControlFlow;

use pgq_core::snapshot::Snapshot;
use pgq_core::window::Window;

use crate::error::PgqError;
use crate::event_table::{self, TXID};
use pgq_pg::call::{Call, Returned};
use pgq_pg::index_scan::{IndexedTable, ScannedRow};
use pgq_pg::snapshot::StatementSnapshot;
use pgq_pg::sql::{Query, Under};
use pgq_pg::value::Value;
use pgrx::pg_sys;

thread_local! {
    static TABLES: Query = const {
        Query::new(include_str!("waiting.sql"), &[pg_sys::INT4OID, pg_sys::INT8OID])
    };
}

/// `pgq._find_waiting(i_queue_id, i_prev, i_now)`.
pub(crate) fn find_waiting(call: &Call) -> Result<Returned, PgqError> {
    let snapshot = |index| -> Option<Snapshot> {
        call.text(index)?.with_bytes(|bytes| std::str::from_utf8(bytes).ok()?.parse().ok())
    };
    let (Some(queue), Some(previous), Some(now)) = (call.int4(0), snapshot(1), snapshot(2)) else {
        return Ok(Returned::Null);
    };
    let Some(tables) = tables(queue, &previous)? else { return Ok(Returned::Null) };
    let window = Window::new(previous, now);
    let _snapshot = StatementSnapshot::take();
    Ok(Returned::Bool(tables.iter().any(|table| has_event(table, &window, |_| true))))
}

/// The event tables that an event after this snapshot can be in; None when one of them is not as
/// `pgq.create_queue` made it.
fn tables(queue: i32, previous: &Snapshot) -> Result<Option<Vec<IndexedTable>>, PgqError> {
    let row = TABLES.with(|query| {
        let arguments = [Value::Int4(queue), Value::Int8(previous.xmin())];
        query.first(&arguments, Under::Own, |row| {
            let numbers: Vec<i32> = row.get(1).expect("an array is not null");
            let prefix: String = row.get(2).expect("queue_data_pfx is not null");
            (numbers, prefix)
        })
    })?;
    let Some((numbers, prefix)) = row else { return Ok(None) };
    let open = |number| event_table::open(&format!("{prefix}_{number}"));
    Ok(numbers.into_iter().map(open).collect())
}

/// True when the table has an event of the window that `is_wanted`.
pub(super) fn has_event(
    table: &IndexedTable,
    window: &Window,
    is_wanted: impl Fn(&ScannedRow) -> bool,
) -> bool {
    let is_in_window = |row: &ScannedRow| row.int8(TXID).is_some_and(|xid| window.contains(xid));
    let scan = |low, high| {
        table.scan_range(low, high, |row| match is_in_window(row) && is_wanted(row) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    };
    scan(window.low, window.high).is_break()
        || window.old.iter().any(|&xid| scan(xid, xid).is_break())
}
