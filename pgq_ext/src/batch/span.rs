//! What lies between two ticks of a queue: which transactions, and in which tables their events
//! are.

use std::ops::ControlFlow;

use crate::error::PgqError;
use crate::event_table::TXID;
use crate::own_relation;
use pgq_core::snapshot::{InvalidSnapshot, Snapshot};
use pgq_core::window::Window;
use pgq_core::window_sql::window_sql;
use pgq_pg::catalog::QualifiedName;
use pgq_pg::index_scan::{IndexedTable, ScannedRow};
use pgq_pg::sql::{Query, Under};
use pgq_pg::value::Value;
use pgrx::pg_sys;

/// Two ticks of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickPair {
    /// `tick_queue` of both.
    pub(crate) queue: i32,
    /// The tick before.
    pub(crate) previous: i64,
    /// The tick at the end.
    pub(crate) current: i64,
}

/// What lies between them.
pub(crate) struct Span {
    /// Which transactions.
    pub(crate) window: Window,
    /// The event tables: what these names stand for is one.
    pub(crate) tables: Vec<String>,
}

thread_local! {
    static SPAN: Query = const {
        Query::new(
            include_str!("span.sql"),
            &[pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::INT8OID],
        )
    };
}

impl Span {
    /// Look it up as the current user sees it; None when a tick or the queue is missing. Errors:
    /// XX001 no snapshot, or not an event table; 42P01 a table is missing.
    pub(crate) fn load(ticks: TickPair) -> Result<Option<Self>, PgqError> {
        let arguments =
            [Value::Int4(ticks.queue), Value::Int8(ticks.previous), Value::Int8(ticks.current)];
        let row = SPAN.with(|query| {
            query.first(&arguments, Under::Own, |row| {
                let snapshot = |column| row.get(column).expect("tick_snapshot is not null");
                let (previous, current): (String, String) = (snapshot(1), snapshot(2));
                let tables: Vec<String> = row.get(3).expect("array() is not null");
                (previous, current, tables)
            })
        })?;
        let Some((previous, current, tables)) = row else { return Ok(None) };
        let snapshot = |text: &str| -> Result<Snapshot, PgqError> {
            text.parse().map_err(|problem: InvalidSnapshot| PgqError::Corrupt {
                queue: format!("#{}", ticks.queue),
                problem: problem.to_string(),
            })
        };
        let window = Window::new(snapshot(&previous)?, snapshot(&current)?);
        for table in &tables {
            // What is missing here could still be a temporary relation of the caller's in a query.
            let missing = || PgqError::NoSuchRelation { name: table.clone() };
            own_relation::event_table(table)?.ok_or_else(missing)?;
        }
        Ok(Some(Self { window, tables }))
    }

    /// Call `visit` with the rows of one of the tables that are of the window, until it breaks.
    #[inline]
    pub(super) fn visit<B>(
        &self,
        table: &IndexedTable,
        mut visit: impl FnMut(&ScannedRow) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // Events of one transaction lie together: its visibility is worked out once.
        let (mut last_xid, mut last_contained) = (None, false);
        table.scan_range(self.window.low, self.window.high, |row| {
            if let Some(xid) = row.int8(TXID) {
                if last_xid != Some(xid) {
                    (last_xid, last_contained) = (Some(xid), self.window.contains(xid));
                }
                if last_contained {
                    return visit(row);
                }
            }
            ControlFlow::Continue(())
        })?;
        for &xid in &self.window.old {
            table.scan_range(xid, xid, &mut visit)?;
        }
        ControlFlow::Continue(())
    }

    /// The query for the events that a subscription gets; `filter` is an SQL condition on the event
    /// `e`. None without tables.
    pub(crate) fn sql(&self, subscription: i32, filter: Option<&str>) -> Option<String> {
        let quoted = |name: &String| QualifiedName::split(name).map(|name| name.quoted());
        let tables: Vec<_> = self.tables.iter().filter_map(quoted).collect();
        window_sql(&self.window, &tables, subscription, filter)
    }
}
