//! A batch in the hands of a handler.

use postgres::Transaction;

use crate::batch::Batch;
use crate::cursor::Pages;
use crate::error::Error;
use crate::event::Event;
use crate::stop::Stop;

/// A batch in the hands of a handler: pages of events from the source, and the transaction in the
/// target.
pub struct RemoteBatch<'b, 's, 't> {
    pub(super) batch: &'b Batch,
    pub(super) source: &'b mut Transaction<'s>,
    pub(super) target: &'b mut Transaction<'t>,
    pub(super) pages: Pages<'b>,
    pub(super) stop: &'b Stop,
    /// None without a dead-letter queue.
    pub(super) dead: Option<Vec<(Event, String)>>,
}

impl<'t> RemoteBatch<'_, '_, 't> {
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
        if self.stop.is_now() {
            return Err(Error::Lost("stopped in the middle of a batch".to_owned()));
        }
        self.pages.next(self.source)
    }

    /// True when events can be set aside.
    pub fn can_bury(&self) -> bool {
        self.dead.is_some()
    }

    /// Set an event aside that cannot be handled: it goes to the dead-letter queue when the handler
    /// has returned. Without such a queue it cannot be, and the error is given back.
    ///
    /// # Errors
    /// `error`, without a dead-letter queue.
    pub fn bury(&mut self, event: &Event, error: Error) -> Result<(), Error> {
        match &mut self.dead {
            None => Err(error),
            Some(dead) => {
                dead.push((event.clone(), error.to_string()));
                Ok(())
            }
        }
    }

    /// The transaction in the target: what is written here commits together with the mark that the
    /// batch is done.
    pub fn target(&mut self) -> &mut Transaction<'t> {
        self.target
    }
}
