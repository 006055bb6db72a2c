//! The consumer: takes batches, hands events to a handler, and finishes the batch in the
//! transaction the handler wrote in.

mod batch_run;
mod builder;
mod event_run;
mod failures;

use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failure::{OnFailure, Outcome};
use crate::intake::{Intake, Place};
use crate::position::PositionFile;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::work::Work;

pub use batch_run::OpenBatch;
pub use builder::{ConsumerBuilder, Local};

/// A consumer of one queue. Made by [`Consumer::builder`].
///
/// Within the queue's own database the effects of a handler are exactly-once: they commit with
/// `finish_batch`. Effects elsewhere are at-least-once; for another PostgreSQL see
/// [`crate::RemoteConsumer`].
pub struct Consumer {
    intake: Intake,
    position: Position,
    on_failure: OnFailure,
}

/// Where the position is, apart from the queue's database.
#[derive(Default)]
struct Position {
    file: Option<PositionFile>,
    /// The queue agrees with the file.
    aligned: bool,
}

impl Place for Position {
    /// Agree with the file, at the start and after each failure.
    fn prepare(&mut self, intake: &mut Intake) -> Result<(), Error> {
        if let (Some(file), false) = (&self.file, self.aligned) {
            let (client, _) = intake.source.get()?;
            file.align(&intake.subscription, client)?;
            self.aligned = true;
        }
        Ok(())
    }

    fn finished(&mut self, tick: i64) -> Result<(), Error> {
        self.file.as_ref().map_or(Ok(()), |file| file.write(tick))
    }

    fn failed(&mut self) {
        self.aligned = false;
    }
}

impl Consumer {
    /// Begin a consumer of `queue` named `consumer`.
    pub fn builder(queue: &str, consumer: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(queue, consumer, Local::default())
    }

    /// Register at the newest tick: what is inserted from now on will come. True when it was not
    /// registered before; a position that exists is kept.
    ///
    /// # Errors
    /// [`Error::Server`]: no such queue (42704), not a pgq_reader (42501).
    pub fn register(&mut self) -> Result<bool, Error> {
        let (client, _) = self.intake.source.get()?;
        self.intake.subscription.register(client)
    }

    /// Register at a tick, or move there; an open batch is given up. True when it was not
    /// registered before.
    ///
    /// # Errors
    /// [`Error::Server`] when the queue has no such tick (any more).
    pub fn register_at(&mut self, tick: i64) -> Result<bool, Error> {
        let (client, _) = self.intake.source.get()?;
        self.intake.subscription.register_at(client, tick)
    }

    /// Unregister; events that wait for a retry are dropped. False when it was not registered.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn unregister(&mut self) -> Result<bool, Error> {
        let (client, _) = self.intake.source.get()?;
        self.intake.subscription.unregister(client)
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
        let (client, _) = self.intake.source.get()?;
        position.reset(&self.intake.subscription, client)
    }

    fn position_file(&self) -> Result<PositionFile, Error> {
        self.position.file.clone().ok_or_else(|| {
            Error::Config("this consumer keeps no position outside the queue's database".to_owned())
        })
    }

    /// A handle that stops [`Consumer::run`] from elsewhere.
    pub fn stop_handle(&self) -> Stop {
        self.intake.settings.stop.clone()
    }

    /// Totals so far.
    pub fn stats(&self) -> Stats {
        self.intake.stats
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
        let Self { intake, position, on_failure } = self;
        intake.run(position, |intake, _, batch| {
            event_run::process(intake, on_failure, batch, &mut handler)
        })
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
        self.intake.run(&mut self.position, |intake, _, batch| {
            batch_run::process(intake, batch, &mut handler).map(Some)
        })
    }
}
