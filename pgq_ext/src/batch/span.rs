//! What lies between two ticks of a queue: which transactions, and in which tables their events are.

use pgq_core::snapshot::{InvalidSnapshot, Snapshot};
use pgq_core::window::Window;
use pgrx::spi::Spi;

use crate::error::PgqError;

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
    /// Quoted names of the event tables.
    pub(crate) tables: Vec<String>,
}

impl Span {
    /// Look it up as the current user sees it; None when a tick or the queue is missing. Error: XX001 no snapshot.
    pub(crate) fn load(ticks: TickPair) -> Result<Option<Self>, PgqError> {
        let row = Spi::connect(|client| {
            let args = [ticks.queue.into(), ticks.previous.into(), ticks.current.into()];
            let rows = client.select(include_str!("span.sql"), Some(1), &args)?.first();
            if rows.is_empty() {
                return Ok(None);
            }
            let previous: String = rows.get(1)?.unwrap_or_default();
            let current: String = rows.get(2)?.unwrap_or_default();
            let tables: Vec<String> = rows.get(3)?.unwrap_or_default();
            Ok::<_, pgrx::spi::Error>(Some((previous, current, tables)))
        })?;
        let Some((previous, current, tables)) = row else { return Ok(None) };
        let snapshot = |text: &str| -> Result<Snapshot, PgqError> {
            text.parse().map_err(|problem: InvalidSnapshot| PgqError::Corrupt {
                queue: format!("#{}", ticks.queue),
                problem: problem.to_string(),
            })
        };
        let window = Window::new(snapshot(&previous)?, snapshot(&current)?);
        Ok(Some(Self { window, tables }))
    }
}
