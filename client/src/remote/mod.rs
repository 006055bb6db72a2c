//! The remote consumer: events come from one database, their effects go to another, exactly once.
//!
//! The target remembers what it has completed, in extension pgq_ext, in the transaction that holds
//! the effects. Whatever dies in between, the next attempt finds there whether the batch is done.

mod builder;
mod copy;
mod tracking;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use postgres::Transaction;

use crate::batch::Batch;
use crate::consumer::{Observer, OnProgress, Outage};
use crate::cursor::{BatchCursor, PageSize};
use crate::dead_letter;
use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failpoint::{self, Step};
use crate::failure::panic_text;
use crate::intake::{Intake, Next};
use crate::session::{self, Session};
use crate::stats::{BatchReport, Stats};
use crate::stop::Stop;
use crate::subscription::Subscription;

pub use builder::RemoteConsumerBuilder;
pub use tracking::Tracking;

/// A consumer whose effects are in another database. Made by [`RemoteConsumer::builder`].
pub struct RemoteConsumer {
    source: Session,
    target: Session,
    subscription: Subscription,
    tracking: Tracking,
    filter: Option<String>,
    intake: Intake,
    page_size: PageSize,
    stop: Stop,
    stats: Stats,
    observer: Option<Observer>,
    on_progress: Option<OnProgress>,
    dead_letter_queue: Option<String>,
    dead_letter_ready: bool,
}

/// A batch in the hands of a handler: pages of events from the source, and the transaction in the
/// target.
pub struct RemoteBatch<'b, 's, 't> {
    batch: &'b Batch,
    source: &'b mut Transaction<'s>,
    target: &'b mut Transaction<'t>,
    cursor: &'b mut BatchCursor,
    stop: &'b Stop,
    events: u64,
    on_progress: Option<&'b mut OnProgress>,
    /// None without a dead-letter queue.
    dead: Option<Vec<(Event, String)>>,
}

impl<'t> RemoteBatch<'_, '_, 't> {
    /// The batch's ids and times.
    pub fn batch(&self) -> &Batch {
        self.batch
    }

    /// The next events; none at the end. A page is some megabytes at most, however large the batch.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Server`].
    pub fn next_page(&mut self) -> Result<Option<Vec<Event>>, Error> {
        if self.stop.is_now() {
            return Err(Error::Lost("stopped in the middle of a batch".to_owned()));
        }
        let page = self.cursor.next_page(self.source)?;
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

enum Turn {
    Finished(BatchReport),
    Idle,
    End,
}

impl RemoteConsumer {
    /// Begin a consumer of `queue` named `consumer`.
    pub fn builder(queue: &str, consumer: &str) -> RemoteConsumerBuilder {
        RemoteConsumerBuilder::new(queue, consumer)
    }

    /// Register in the queue's database at the newest tick. A new registration forgets what the
    /// target remembers of an earlier consumer of this name. True when it was not registered
    /// before.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn register(&mut self) -> Result<bool, Error> {
        let new = self.subscription.register(self.source.get()?.0)?;
        if new {
            self.reset()?;
        }
        Ok(new)
    }

    /// Unregister, and forget the position in the target. False when it was not registered.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn unregister(&mut self) -> Result<bool, Error> {
        let found = self.subscription.unregister(self.source.get()?.0)?;
        self.reset()?;
        Ok(found)
    }

    /// Move the consumer in the queue's database to the position of the target: after a restore of
    /// either side.
    ///
    /// # Errors
    /// [`Error::Config`] when the target has no position; [`Error::Server`] when the queue has no
    /// such tick any more.
    pub fn rewind(&mut self) -> Result<i64, Error> {
        let consumer = self.subscription.consumer.clone();
        let tick = self.tracking.position(self.target.get()?.0, &consumer)?;
        let Some(tick) = tick else {
            return Err(Error::Config(format!(
                "the target has no position of consumer \"{consumer}\" to go back to"
            )));
        };
        self.subscription.register_at(self.source.get()?.0, tick)?;
        Ok(tick)
    }

    /// Forget the position in the target: the queue's database is right.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn reset(&mut self) -> Result<(), Error> {
        self.tracking.forget(self.target.get()?.0, &self.subscription.consumer)
    }

    /// A handle that stops [`RemoteConsumer::run_batches`] from elsewhere.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Hand batches to `handler` until stopped; empty ones are finished without it. A handler's
    /// error, or panic, rolls the target back and the batch comes again after a pause. Outages of
    /// either server are waited out.
    ///
    /// # Errors
    /// Only what waiting does not cure: consumer or queue gone, permission or pgq_ext missing,
    /// [`Error::LostPosition`]. See [`Error::cure`].
    pub fn run_batches<H>(&mut self, mut handler: H) -> Result<Stats, Error>
    where
        H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        let mut outage = Outage::new(self.subscription.consumer.clone());
        self.intake.begin();
        while !self.stop.is_requested() {
            let turn = self.turn(&mut handler);
            let both = [&mut self.source, &mut self.target];
            match turn.map_err(|error| session::explain(error, both)) {
                Ok(Turn::Finished(report)) => {
                    outage.over();
                    self.stats.add(&report);
                    if let Some(observer) = &mut self.observer {
                        observer(&report);
                    }
                }
                Ok(Turn::Idle) => outage.over(),
                Ok(Turn::End) => break,
                Err(_) if self.stop.is_now() => break,
                Err(error @ Error::Handler { .. }) if self.stop.is_requested() => {
                    // What a stop broke off has not failed.
                    log::info!(
                        "{}: stopped, and the batch comes again: {error}",
                        self.subscription.consumer
                    );
                    break;
                }
                Err(error) if error.is_worth_trying_again(self.intake.stop_when_empty) => {
                    if error.needs_reconnect() {
                        self.source.close();
                        self.target.close();
                        self.stats.reconnects += 1;
                    }
                    self.stop.sleep(outage.pause(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.stats)
    }

    fn turn<H>(&mut self, handler: &mut H) -> Result<Turn, Error>
    where
        H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        if let (Some(queue), false) = (&self.dead_letter_queue, self.dead_letter_ready) {
            dead_letter::ensure_queue(self.source.get()?.0, queue)?;
            self.dead_letter_ready = true;
        }
        let Self { source, subscription, intake, stop, .. } = self;
        let batch = match intake.next(subscription, source, stop)? {
            Next::Batch(batch) => batch,
            Next::Nothing => return Ok(Turn::Idle),
            Next::End => return Ok(Turn::End),
        };
        failpoint::visit(Step::BatchOpened);
        match self.process(&batch, handler) {
            Ok(report) => Ok(Turn::Finished(report)),
            Err(error) => match self.source.get() {
                Ok((client, _)) => Err(self.subscription.explain(error, client, batch.id)),
                Err(_) => Err(error),
            },
        }
    }

    fn process<H>(&mut self, batch: &Batch, handler: &mut H) -> Result<BatchReport, Error>
    where
        H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        let begun = Instant::now();
        let Self {
            source,
            target,
            subscription,
            tracking,
            filter,
            page_size,
            stop,
            on_progress,
            ..
        } = self;
        let dead_queue = self.dead_letter_queue.as_deref();
        let consumer = &subscription.consumer;
        let (source, _) = source.get()?;
        let (target, _) = target.get()?;

        let mut there = target.transaction()?;
        let skipped = tracking.is_done(&mut there, consumer, batch)?;
        failpoint::visit(Step::TargetChecked);
        let mut events = 0;
        let mut dead = 0;
        if !skipped {
            let mut here = source.transaction()?;
            let mut cursor = BatchCursor::open(&mut here, batch.id, filter.as_deref(), *page_size)?;
            failpoint::visit(Step::EventsRead);
            if !cursor.is_empty() {
                let mut open = RemoteBatch {
                    batch,
                    source: &mut here,
                    target: &mut there,
                    cursor: &mut cursor,
                    stop,
                    events: 0,
                    on_progress: on_progress.as_mut(),
                    dead: dead_queue.map(|_| Vec::new()),
                };
                let result = catch_unwind(AssertUnwindSafe(|| handler(&mut open)));
                events = open.events;
                let letters = open.dead.unwrap_or_default();
                result
                    .unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).into()))
                    .map_err(|source| Error::Handler { event_id: None, source })?;
                failpoint::visit(Step::HandlerDone);
                if let Some(queue) = dead_queue {
                    dead = u64::try_from(letters.len()).unwrap_or(u64::MAX);
                    dead_letter::bury_once(
                        &mut here,
                        queue,
                        &subscription.queue,
                        consumer,
                        letters,
                    )?;
                    failpoint::visit(Step::DeadStored);
                }
            }
            *page_size = cursor.close(&mut here)?;
            here.commit()?;
            tracking.set_done(&mut there, consumer, batch)?;
            failpoint::visit(Step::TrackingNoted);
        }
        there.commit()?;
        failpoint::visit(Step::TargetCommitted);
        subscription.finish(source, batch.id)?;
        failpoint::visit(Step::FinishCommitted);
        Ok(BatchReport {
            batch: batch.clone(),
            events,
            retried: 0,
            dead,
            skipped,
            duration: begun.elapsed(),
        })
    }
}
