//! A batch as a whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use postgres::Transaction;

use super::{Consumer, OnProgress};
use crate::batch::Batch;
use crate::cursor::BatchCursor;
use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failpoint::{self, Step};
use crate::failure::panic_text;
use crate::stats::BatchReport;

/// A batch in the hands of a handler: pages of events, and the transaction that will finish it.
pub struct OpenBatch<'b, 't> {
    batch: &'b Batch,
    transaction: &'b mut Transaction<'t>,
    cursor: &'b mut BatchCursor,
    events: u64,
    on_progress: Option<&'b mut OnProgress>,
}

impl<'t> OpenBatch<'_, 't> {
    /// The batch's ids and times.
    pub fn batch(&self) -> &Batch {
        self.batch
    }

    /// The next events; none at the end. A page is some megabytes at most, however large the batch.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Server`].
    pub fn next_page(&mut self) -> Result<Option<Vec<Event>>, Error> {
        let page = self.cursor.next_page(self.transaction)?;
        let rows = page.as_ref().map_or(0, Vec::len);
        if let Some(progress) = &mut self.on_progress {
            // What was handed out before is done by now.
            progress(self.events);
        }
        self.events += u64::try_from(rows).unwrap_or(0);
        Ok(page)
    }

    /// The transaction that finishes the batch: what is written here commits with it.
    pub fn transaction(&mut self) -> &mut Transaction<'t> {
        self.transaction
    }
}

pub(super) fn process<H>(
    consumer: &mut Consumer,
    batch: &Batch,
    handler: &mut H,
) -> Result<Option<BatchReport>, Error>
where
    H: FnMut(&mut OpenBatch<'_, '_>) -> Result<(), HandlerError>,
{
    let Consumer { session, subscription, settings, page_size, on_progress, .. } = consumer;
    let (client, _) = session.get()?;
    let mut transaction = client.transaction()?;
    let mut cursor =
        BatchCursor::open(&mut transaction, batch.id, settings.filter.as_deref(), *page_size)?;
    failpoint::visit(Step::EventsRead);
    let mut events = 0;
    if !cursor.is_empty() {
        let mut open = OpenBatch {
            batch,
            transaction: &mut transaction,
            cursor: &mut cursor,
            events: 0,
            on_progress: on_progress.as_mut(),
        };
        let result = catch_unwind(AssertUnwindSafe(|| handler(&mut open)));
        events = open.events;
        let result = result.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).into()));
        if let Err(source) = result {
            return Err(Error::Handler { event_id: None, source });
        }
        failpoint::visit(Step::HandlerDone);
    }
    *page_size = cursor.close(&mut transaction)?;
    subscription.finish(&mut transaction, batch.id)?;
    failpoint::visit(Step::FinishSent);
    transaction.commit()?;
    failpoint::visit(Step::FinishCommitted);
    let batch = batch.clone();
    Ok(Some(BatchReport {
        batch,
        events,
        retried: 0,
        dead: 0,
        skipped: false,
        duration: Duration::ZERO,
    }))
}
