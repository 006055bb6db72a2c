//! The consumer: takes batches, hands events to a handler, and finishes the batch in the
//! transaction the handler wrote in.

mod batch_run;
mod builder;
mod event_run;
mod outage;

use std::time::Instant;

use crate::batch::Batch;
use crate::cursor::PageSize;
use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failpoint::{self, Step};
use crate::failure::{OnFailure, Outcome};
use crate::intake::{Intake, Next};
use crate::position::PositionFile;
use crate::session::{self, Session};
use crate::stats::{BatchReport, Stats};
use crate::stop::Stop;
use crate::subscription::Subscription;
use crate::work::Work;

pub use batch_run::OpenBatch;
pub use builder::ConsumerBuilder;
pub(crate) use builder::PAGE_ROWS;
pub(crate) use outage::Outage;

/// Called after each finished batch.
pub(crate) type Observer = Box<dyn FnMut(&BatchReport) + Send>;

/// Called while a batch is handled, with the number of its events that have been handed out.
pub(crate) type OnProgress = Box<dyn FnMut(u64) + Send>;

/// Settings that do not change while it runs.
pub(crate) struct Settings {
    pub(crate) on_failure: OnFailure,
    pub(crate) dead_letter_queue: Option<String>,
    pub(crate) filter: Option<String>,
    pub(crate) max_batches: Option<u64>,
}

/// A consumer of one queue. Made by [`Consumer::builder`].
///
/// Within the queue's own database the effects of a handler are exactly-once: they commit with
/// `finish_batch`. Effects elsewhere are at-least-once; for another PostgreSQL see
/// [`crate::RemoteConsumer`].
pub struct Consumer {
    session: Session,
    subscription: Subscription,
    settings: Settings,
    intake: Intake,
    page_size: PageSize,
    stop: Stop,
    stats: Stats,
    observer: Option<Observer>,
    on_progress: Option<OnProgress>,
    dead_letter_ready: bool,
    position: Option<PositionFile>,
    /// The queue agrees with the position file.
    aligned: bool,
}

/// What one turn of the loop did.
enum Turn {
    Finished(BatchReport),
    Idle,
    Stopped,
}

impl Consumer {
    /// Begin a consumer of `queue` named `consumer`.
    pub fn builder(queue: &str, consumer: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(queue, consumer)
    }

    /// Register at the newest tick: what is inserted from now on will come. True when it was not
    /// registered before; a position that exists is kept.
    ///
    /// # Errors
    /// [`Error::Server`]: no such queue (42704), not a pgq_reader (42501).
    pub fn register(&mut self) -> Result<bool, Error> {
        let (client, _) = self.session.get()?;
        self.subscription.register(client)
    }

    /// Register at a tick, or move there; an open batch is given up. True when it was not
    /// registered before.
    ///
    /// # Errors
    /// [`Error::Server`] when the queue has no such tick (any more).
    pub fn register_at(&mut self, tick: i64) -> Result<bool, Error> {
        let (client, _) = self.session.get()?;
        self.subscription.register_at(client, tick)
    }

    /// Unregister; events that wait for a retry are dropped. False when it was not registered.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn unregister(&mut self) -> Result<bool, Error> {
        let (client, _) = self.session.get()?;
        self.subscription.unregister(client)
    }

    /// Move the consumer to the tick in its position file.
    ///
    /// # Errors
    /// [`Error::Config`] without such a file; [`Error::Server`] when the queue has no such tick
    /// (any more).
    pub fn rewind(&mut self) -> Result<i64, Error> {
        let Some(tick) = self.position_file()?.read()? else {
            return Err(Error::Config("there is no position to go back to yet".to_owned()));
        };
        self.register_at(tick)?;
        Ok(tick)
    }

    /// Write the queue's position into the position file.
    ///
    /// # Errors
    /// [`Error::Config`] without such a file, or when the consumer is not registered;
    /// [`Error::Io`].
    pub fn reset(&mut self) -> Result<(), Error> {
        let position = self.position_file()?;
        let (client, _) = self.session.get()?;
        position.reset(&self.subscription, client)
    }

    fn position_file(&self) -> Result<PositionFile, Error> {
        self.position.clone().ok_or_else(|| {
            Error::Config("this consumer keeps no position outside the queue's database".to_owned())
        })
    }

    /// A handle that stops [`Consumer::run`] from elsewhere.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Totals so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Hand each event to `handler` until stopped. A handler's error, or panic, is dealt with as
    /// [`OnFailure`] says; outages of the server are waited out.
    ///
    /// # Errors
    /// Only what waiting does not cure: the consumer or the queue is gone, permission is missing,
    /// the SQL is refused. See [`Error::cure`].
    pub fn run<R, H>(&mut self, mut handler: H) -> Result<Stats, Error>
    where
        R: Into<Outcome>,
        H: FnMut(&mut Work<'_, '_>, &Event) -> Result<R, HandlerError>,
    {
        self.run_loop(|consumer, batch| event_run::process(consumer, batch, &mut handler))
    }

    /// Hand whole batches to `handler` until stopped; empty ones are finished without it. An error,
    /// or panic, rolls the batch back and it comes again.
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub fn run_batches<H>(&mut self, mut handler: H) -> Result<Stats, Error>
    where
        H: FnMut(&mut OpenBatch<'_, '_>) -> Result<(), HandlerError>,
    {
        self.run_loop(|consumer, batch| batch_run::process(consumer, batch, &mut handler))
    }

    fn run_loop(
        &mut self,
        mut process: impl FnMut(&mut Self, &Batch) -> Result<Option<BatchReport>, Error>,
    ) -> Result<Stats, Error> {
        let mut outage = Outage::new(self.subscription.full_name());
        self.intake.begin();
        while !self.stop.is_requested() {
            let turn = self.turn(&mut process);
            match turn.map_err(|error| session::explain(error, [&mut self.session])) {
                Ok(Turn::Finished(report)) => {
                    outage.over();
                    if let Some(position) = &self.position {
                        position.write(report.batch.tick)?;
                    }
                    self.stats.add(&report);
                    if let Some(observer) = &mut self.observer {
                        observer(&report);
                    }
                    if self.settings.max_batches.is_some_and(|max| self.stats.batches >= max) {
                        break;
                    }
                }
                Ok(Turn::Idle) => outage.over(),
                Ok(Turn::Stopped) => break,
                Err(_) if self.stop.is_now() => break,
                Err(error @ Error::Handler { .. }) if self.stop.is_requested() => {
                    // What a stop broke off has not failed.
                    log::info!(
                        "{}: stopped, and the batch comes again: {error}",
                        self.subscription.full_name()
                    );
                    break;
                }
                Err(error) if error.is_worth_trying_again(self.intake.stop_when_empty) => {
                    self.aligned = false;
                    if error.needs_reconnect() {
                        self.session.close();
                        self.stats.reconnects += 1;
                    }
                    self.stop.sleep(outage.pause(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.stats)
    }

    fn turn(
        &mut self,
        process: &mut impl FnMut(&mut Self, &Batch) -> Result<Option<BatchReport>, Error>,
    ) -> Result<Turn, Error> {
        self.prepare_dead_letters()?;
        self.align()?;
        let Self { session, subscription, intake, stop, .. } = self;
        let batch = match intake.next(subscription, session, stop)? {
            Next::Batch(batch) => batch,
            Next::Nothing => return Ok(Turn::Idle),
            Next::End => return Ok(Turn::Stopped),
        };
        failpoint::visit(Step::BatchOpened);
        if self.stop.is_now() {
            return Ok(Turn::Stopped);
        }
        let begun = Instant::now();
        match process(self, &batch).map_err(|error| self.explain(error, &batch))? {
            Some(report) => Ok(Turn::Finished(BatchReport { duration: begun.elapsed(), ..report })),
            None => Ok(Turn::Stopped),
        }
    }

    /// The error, or that another process has finished the batch meanwhile: then the next one
    /// comes.
    fn explain(&mut self, error: Error, batch: &Batch) -> Error {
        match self.session.get() {
            Ok((client, _)) => self.subscription.explain(error, client, batch.id),
            Err(_) => error,
        }
    }

    /// Agree with the position file, at the start and after each failure: the server may be another
    /// one now.
    fn align(&mut self) -> Result<(), Error> {
        if let (Some(position), false) = (&self.position, self.aligned) {
            let (client, _) = self.session.get()?;
            position.align(&self.subscription, client)?;
            self.aligned = true;
        }
        Ok(())
    }

    fn prepare_dead_letters(&mut self) -> Result<(), Error> {
        if let (Some(queue), false) = (&self.settings.dead_letter_queue, self.dead_letter_ready) {
            let (client, _) = self.session.get()?;
            crate::dead_letter::ensure_queue(client, queue)?;
            self.dead_letter_ready = true;
        }
        Ok(())
    }
}
