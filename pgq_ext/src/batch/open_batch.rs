//! An open batch: where it begins and ends, and which tables its events are in.

use pgq_core::batch_sql::BatchRef;
use pgq_core::window::Window;
use pgrx::spi::Spi;

use crate::error::PgqError;

/// A batch that a consumer has open.
pub(crate) struct OpenBatch {
    /// Queue, ticks and subscription.
    pub(crate) reference: BatchRef,
    /// Which transactions it consists of.
    pub(crate) window: Window,
    /// The event tables, as `pgq.batch_event_tables` names them.
    pub(crate) tables: Vec<String>,
}

impl OpenBatch {
    /// Look it up as the current user sees it. Errors: 42704 unknown batch; XX001 a tick that is no snapshot.
    pub(crate) fn load(batch: Option<i64>) -> Result<Self, PgqError> {
        let missing = PgqError::NoSuchBatch { batch };
        let Some(id) = batch else { return Err(missing) };
        let row = Spi::connect(|client| {
            let rows =
                client.select(include_str!("open_batch.sql"), Some(1), &[id.into()])?.first();
            if rows.is_empty() {
                return Ok(None);
            }
            let reference = BatchRef {
                queue: rows.get(1)?.unwrap_or_default(),
                subscription: rows.get(2)?.unwrap_or_default(),
                previous_tick: rows.get(3)?.unwrap_or_default(),
                current_tick: rows.get(4)?.unwrap_or_default(),
            };
            let previous: String = rows.get(5)?.unwrap_or_default();
            let current: String = rows.get(6)?.unwrap_or_default();
            let tables: Vec<String> = rows.get(7)?.unwrap_or_default();
            Ok::<_, pgrx::spi::Error>(Some((reference, previous, current, tables)))
        })?;
        let Some((reference, previous, current, tables)) = row else { return Err(missing) };
        let snapshot = |text: &str| {
            text.parse().map_err(|problem: pgq_core::snapshot::InvalidSnapshot| PgqError::Corrupt {
                queue: reference.queue.to_string(),
                problem: problem.to_string(),
            })
        };
        let window = Window::new(snapshot(&previous)?, snapshot(&current)?);
        Ok(Self { reference, window, tables })
    }
}
