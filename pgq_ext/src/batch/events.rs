//! `pgq.get_batch_events`: the events of a batch, straight from the event tables' indexes.

use std::collections::HashSet;
use std::convert::Infallible;
use std::ops::ControlFlow;

use super::span::{Span, TickPair};
use super::waiting::has_event;
use crate::error::PgqError;
use crate::event_table::{self, DELIVERED, ID, OWNER};
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
    /// Before `alter extension pgq update` there are no pages, and nothing is put aside.
    static OLD_BATCH: Query =
        const { Query::new(include_str!("old_batch.sql"), &[pg_sys::INT8OID]) };
}

/// `pgq.get_batch_events(x_batch_id)`.
pub(crate) fn get_batch_events(call: &Call) -> Result<Returned, PgqError> {
    let OpenBatch { id: batch, ticks, subscription, aside } = OpenBatch::find(call.int8(0))?;
    let span = Span::load(ticks)?.ok_or(PgqError::NoBatchSql { batch })?;
    let mut rows = RowStore::begin(call);
    let tables: Option<Vec<_>> = span.tables.iter().map(|name| event_table::open(name)).collect();
    match tables {
        Some(tables) => {
            // The batch may have been opened within this statement, and its last tick be younger
            // than the statement's snapshot.
            let _snapshot = StatementSnapshot::take();
            for table in &tables {
                scan(&span, subscription, &aside, table, &mut rows);
            }
        }
        // An event table that somebody changed: ask the planner instead.
        None => {
            let filter = without(&aside);
            let sql =
                span.sql(subscription, filter.as_deref()).ok_or(PgqError::NoBatchSql { batch })?;
            rows.fill_from_query::<{ DELIVERED.len() }>(&sql)?;
        }
    }
    rows.finish();
    Ok(Returned::Done)
}

/// `pgq._batch_has_events(x_batch_id)`.
pub(crate) fn batch_has_events(call: &Call) -> Result<Returned, PgqError> {
    let OpenBatch { id: batch, ticks, subscription, .. } = OpenBatch::find(call.int8(0))?;
    let span = Span::load(ticks)?.ok_or(PgqError::NoBatchSql { batch })?;
    Ok(Returned::Bool(may_have_events(&span, subscription)))
}

/// `pgq._window_has_events(i_queue_id, i_sub_id, i_prev_tick, i_cur_tick)`.
pub(crate) fn window_has_events(call: &Call) -> Result<Returned, PgqError> {
    let (Some(queue), Some(subscription), Some(previous), Some(current)) =
        (call.int4(0), call.int4(1), call.int8(2), call.int8(3))
    else {
        return Err(PgqError::NullArgument("queue, subscription and ticks"));
    };
    let ticks = TickPair { queue, previous, current };
    let span = Span::load(ticks)?.ok_or(PgqError::NoTicks { previous, current })?;
    Ok(Returned::Bool(may_have_events(&span, subscription)))
}

/// False where there are no events for the subscription. Where only a query could tell, or the user
/// may not read, there may be some.
fn may_have_events(span: &Span, subscription: i32) -> bool {
    if !span.tables.iter().all(|name| event_table::may_read(name)) {
        return true;
    }
    let tables: Option<Vec<_>> = span.tables.iter().map(|name| event_table::open(name)).collect();
    let Some(tables) = tables else { return true };
    let _snapshot = StatementSnapshot::take();
    tables.iter().any(|table| has_event(table, &span.window, |row| is_for(row, subscription)))
}

/// SQL condition on the event `e`: it is none of these.
fn without(aside: &HashSet<i64>) -> Option<String> {
    let ids: Vec<_> = aside.iter().map(i64::to_string).collect();
    let list = ids.join(",");
    (!ids.is_empty()).then(|| {
        format!("not e.ev_id operator(pg_catalog.=) any ('{{{list}}}'::pg_catalog.int8[])")
    })
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
    /// Messages that its holder has put aside.
    aside: HashSet<i64>,
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
                let aside: Vec<i64> = row.get(5).expect("an array is not null");
                let subscription = row.get(4).expect("sub_id is not null");
                Some(Self { id, ticks, subscription, aside: aside.into_iter().collect() })
            })
        };
        let row = if catalog::relation_oid(c"pgq", c"aside").is_none() {
            OLD_BATCH.with(find)?
        } else {
            match OPEN_BATCH.with(find)? {
                None => OPEN_PAGE.with(find)?,
                row => row,
            }
        };
        let batch = row.ok_or(PgqError::NoSuchBatch { batch: Some(id) })?;
        batch.ok_or(PgqError::NoBatchSql { batch: id })
    }
}

fn scan(
    span: &Span,
    subscription: i32,
    aside: &HashSet<i64>,
    table: &IndexedTable,
    rows: &mut RowStore,
) {
    let is_aside = |row: &ScannedRow| row.int8(ID).is_some_and(|id| aside.contains(&id));
    let ControlFlow::Continue(()) = span.visit(table, |row| {
        if is_for(row, subscription) && (aside.is_empty() || !is_aside(row)) {
            rows.push(row, &DELIVERED);
        }
        ControlFlow::<Infallible>::Continue(())
    });
}
