//! `pgq.get_batch_events`: the events of a batch, straight from the event tables' indexes.

use std::convert::Infallible;
use std::ops::ControlFlow;

use super::span::{Span, TickPair};
use super::waiting::has_event;
use crate::error::PgqError;
use crate::event_table::{self, DELIVERED, OWNER};
use pgq_pg::call::{Call, Returned};
use pgq_pg::catalog;
use pgq_pg::index_scan::{IndexedTable, ScannedRow};
use pgq_pg::row_store::RowStore;
use pgq_pg::snapshot::StatementSnapshot;
use pgq_pg::sql::{Query, Under};
use pgq_pg::value::Value;
use pgrx::pg_sys;

thread_local! {
    static OPEN_BATCH: Query =
        const { Query::new(include_str!("open_batch.sql"), &[pg_sys::INT8OID]) };
    /// The batch of which a page is handed out.
    static OPEN_PAGE: Query =
        const { Query::new(include_str!("open_page.sql"), &[pg_sys::INT8OID]) };
}

/// `pgq.get_batch_events(x_batch_id)`.
pub(crate) fn get_batch_events(call: &Call) -> Result<Returned, PgqError> {
    let OpenBatch { id: batch, ticks, subscription } = OpenBatch::find(call.int8(0))?;
    let span = Span::load(ticks)?.ok_or(PgqError::NoBatchSql { batch })?;
    let mut rows = RowStore::begin(call);
    let tables: Option<Vec<_>> = span.tables.iter().map(|name| event_table::open(name)).collect();
    match tables {
        Some(tables) => {
            // The batch may have been opened within this statement, and its last tick be younger
            // than the statement's snapshot.
            let _snapshot = StatementSnapshot::take();
            for table in &tables {
                scan(&span, subscription, table, &mut rows);
            }
        }
        // An event table that somebody changed: ask the planner instead.
        None => {
            let sql = span.sql(subscription, None).ok_or(PgqError::NoBatchSql { batch })?;
            rows.fill_from_query::<{ DELIVERED.len() }>(&sql)?;
        }
    }
    rows.finish();
    Ok(Returned::Done)
}

/// `pgq._batch_has_events(x_batch_id)`.
pub(crate) fn batch_has_events(call: &Call) -> Result<Returned, PgqError> {
    let OpenBatch { id: batch, ticks, subscription } = OpenBatch::find(call.int8(0))?;
    let span = Span::load(ticks)?.ok_or(PgqError::NoBatchSql { batch })?;
    // Where only a query could tell, or the user may not read, there may be some.
    if !span.tables.iter().all(|name| event_table::may_read(name)) {
        return Ok(Returned::Bool(true));
    }
    let tables: Option<Vec<_>> = span.tables.iter().map(|name| event_table::open(name)).collect();
    let Some(tables) = tables else { return Ok(Returned::Bool(true)) };
    let _snapshot = StatementSnapshot::take();
    let found =
        tables.iter().any(|table| has_event(table, &span.window, |row| is_for(row, subscription)));
    Ok(Returned::Bool(found))
}

/// Events that come again belong to one subscription.
pub(super) fn is_for(row: &ScannedRow, subscription: i32) -> bool {
    row.int4(OWNER).is_none_or(|owner| owner == subscription)
}

/// A batch that a consumer has open.
struct OpenBatch {
    id: i64,
    ticks: TickPair,
    subscription: i32,
}

impl OpenBatch {
    fn find(id: Option<i64>) -> Result<Self, PgqError> {
        let id = id.ok_or(PgqError::NoSuchBatch { batch: None })?;
        let find = |query: &Query| {
            query.first(&[Value::Int8(id)], Under::Own, |row| {
                let ticks = TickPair {
                    queue: row.get(1).expect("sub_queue is not null"),
                    previous: row.get(2)?,
                    current: row.get(3)?,
                };
                Some(Self { id, ticks, subscription: row.get(4).expect("sub_id is not null") })
            })
        };
        let row = match OPEN_BATCH.with(find)? {
            // Before `alter extension pgq update` there are no pages.
            None if catalog::relation_oid(c"pgq", c"page").is_some() => OPEN_PAGE.with(find)?,
            row => row,
        };
        let batch = row.ok_or(PgqError::NoSuchBatch { batch: Some(id) })?;
        batch.ok_or(PgqError::NoBatchSql { batch: id })
    }
}

fn scan(span: &Span, subscription: i32, table: &IndexedTable, rows: &mut RowStore) {
    let ControlFlow::Continue(()) = span.visit(table, |row| {
        if is_for(row, subscription) {
            rows.push(row, &DELIVERED);
        }
        ControlFlow::<Infallible>::Continue(())
    });
}
