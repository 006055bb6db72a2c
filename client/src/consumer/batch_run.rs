//! A batch as a whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use postgres::Transaction;

use super::{Consumer, OnProgress};
use crate::batch::Batch;
use crate::cursor::BatchCursor;
use crate::dead_letter;
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
        dead_letter::bury(self.transaction, dead_queue, queue, consumer, event, why)?;
        self.dead += 1;
        Ok(())
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
    let mut dead = 0;
    let grave = settings.dead_letter_queue.as_deref().map(|dead_queue| Grave {
        dead_queue,
        queue: &subscription.queue,
        consumer: &subscription.consumer,
    });
    if !cursor.is_empty() {
        let mut open = OpenBatch {
            batch,
            transaction: &mut transaction,
            cursor: &mut cursor,
            events: 0,
            on_progress: on_progress.as_mut(),
            grave,
            dead: 0,
        };
        let result = catch_unwind(AssertUnwindSafe(|| handler(&mut open)));
        events = open.events;
        dead = open.dead;
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
        dead,
        skipped: false,
        duration: Duration::ZERO,
    }))
}
