//! What lies between two ticks of a queue: which transactions, and in which tables their events are.

use super::kept_query::KeptQuery;
use crate::error::PgqError;
use crate::pg::catalog::QualifiedName;
use pgq_core::snapshot::{InvalidSnapshot, Snapshot};
use pgq_core::window::Window;
use pgq_core::window_sql::window_sql;

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
    /// The event tables.
    pub(crate) tables: Vec<QualifiedName>,
}

thread_local! {
    static SPAN: KeptQuery = const { KeptQuery::new(include_str!("span.sql")) };
}

impl Span {
    /// Look it up as the current user sees it; None when a tick or the queue is missing. Error: XX001 no snapshot.
    pub(crate) fn load(ticks: TickPair) -> Result<Option<Self>, PgqError> {
        let args = [ticks.queue.into(), ticks.previous.into(), ticks.current.into()];
        let row = SPAN.with(|query| {
            query.first_row(&args, |row| {
                let previous: String = row.get(1)?.unwrap_or_default();
                let current: String = row.get(2)?.unwrap_or_default();
                let tables: Vec<String> = row.get(3)?.unwrap_or_default();
                Ok((previous, current, tables))
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
        let split = |name: &String| {
            QualifiedName::split(name).ok_or_else(|| PgqError::Corrupt {
                queue: format!("#{}", ticks.queue),
                problem: format!("\"{name}\" is not the name of an event table"),
            })
        };
        let tables = tables.iter().map(split).collect::<Result<_, _>>()?;
        Ok(Some(Self { window, tables }))
    }

    /// The query for the events that a subscription gets; `filter` is an SQL condition on the event `e`. None without tables.
    pub(crate) fn sql(&self, subscription: i32, filter: Option<&str>) -> Option<String> {
        let tables: Vec<_> = self.tables.iter().map(QualifiedName::quoted).collect();
        window_sql(&self.window, &tables, subscription, filter)
    }
}
