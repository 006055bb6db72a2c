//! A batch as a whole.

use std::panic::{AssertUnwindSafe, catch_unwind};

use postgres::Transaction;

use crate::batch::Batch;
use crate::cursor::{BatchCursor, Pages};
use crate::dead_letter;
use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failpoint::{self, Step};
use crate::failure::panic_text;
use crate::intake::Intake;
use crate::stats::BatchReport;

/// A batch in the hands of a handler: pages of events, and the transaction that will finish it.
pub struct OpenBatch<'b, 't> {
    batch: &'b Batch,
    transaction: &'b mut Transaction<'t>,
    pages: Pages<'b>,
    grave: Option<Grave<'b>>,
    dead: u64,
}

/// Where events go that are given up, and from where.
#[derive(Clone, Copy)]
struct Grave<'b> {
    dead_queue: &'b str,
    queue: &'b str,
    consumer: &'b str,
}

impl<'t> OpenBatch<'_, 't> {
    /// The batch's ids and times.
    pub fn batch(&self) -> &Batch {
        self.batch
    }

    /// The next events; none at the end. A page aims at some megabytes, however large the batch:
    /// its number of rows follows the size of the events before it.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Server`].
    pub fn next_page(&mut self) -> Result<Option<Vec<Event>>, Error> {
        self.pages.next(self.transaction)
    }

    /// True when events can be set aside.
    pub fn can_bury(&self) -> bool {
        self.grave.is_some()
    }

    /// Set an event aside that cannot be handled: into the dead-letter queue, in the transaction
    /// that finishes the batch. Without such a queue it cannot be, and the error is given back.
    ///
    /// # Errors
    /// `error`, without a dead-letter queue; [`Error::Server`], [`Error::Lost`].
    pub fn bury(&mut self, event: &Event, error: Error) -> Result<(), Error> {
        let Some(Grave { dead_queue, queue, consumer }) = self.grave else { return Err(error) };
        log::warn!("{consumer}: event {} is dead: {error}", event.id);
        let why = error.to_string();
        dead_letter::bury(self.transaction, dead_queue, queue, consumer, event, &why)?;
        self.dead += 1;
        Ok(())
    }

    /// The transaction that finishes the batch: what is written here commits with it.
    pub fn transaction(&mut self) -> &mut Transaction<'t> {
        self.transaction
    }
}

/// Process and finish one batch in one transaction.
pub(super) fn process<H>(
    intake: &mut Intake,
    batch: &Batch,
    handler: &mut H,
) -> Result<BatchReport, Error>
where
    H: FnMut(&mut OpenBatch<'_, '_>) -> Result<(), HandlerError>,
{
    let Intake { source, subscription, settings, page_size, .. } = intake;
    let (client, _) = source.get()?;
    let mut transaction = client.transaction()?;
    let filter = settings.filter.as_deref();
    let cursor = BatchCursor::open(&mut transaction, batch.id, filter, *page_size)?;
    failpoint::visit(Step::EventsRead);
    let grave = settings.dead_letter_queue.as_deref().map(|dead_queue| Grave {
        dead_queue,
        queue: &subscription.queue,
        consumer: &subscription.consumer,
    });
    let pages = Pages::new(cursor, settings.on_progress.as_mut());
    let mut open = OpenBatch { batch, transaction: &mut transaction, pages, grave, dead: 0 };
    if !open.pages.is_empty() {
        let result = catch_unwind(AssertUnwindSafe(|| handler(&mut open)));
        let result = result.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).into()));
        if let Err(source) = result {
            return Err(Error::Handler { event_id: None, source });
        }
        failpoint::visit(Step::HandlerDone);
    }
    let OpenBatch { transaction: open_one, pages, dead, .. } = open;
    let report = BatchReport { events: pages.handed_out(), dead, ..BatchReport::empty(batch) };
    *page_size = pages.close(open_one)?;
    subscription.finish(&mut transaction, batch.id)?;
    failpoint::visit(Step::FinishSent);
    transaction.commit()?;
    failpoint::visit(Step::FinishCommitted);
    Ok(report)
}
