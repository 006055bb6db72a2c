//! The remote consumer: events come from one database, their effects go to another, exactly once.
//!
//! The target remembers what it has completed, in extension pgq_ext, in the transaction that holds
//! the effects. Whatever dies in between, the next attempt finds there whether the batch is done.

mod batch;
mod batch_run;
mod builder;
pub(crate) mod copy;
mod copy_table;
mod tracking;

use crate::error::{Error, HandlerError};
use crate::intake::{Intake, Place};
use crate::session::Session;
use crate::stats::Stats;
use crate::stop::Stop;

pub use batch::RemoteBatch;
pub use builder::{Remote, RemoteConsumerBuilder};
pub use tracking::Tracking;

/// A consumer whose effects are in another database. Made by [`RemoteConsumer::builder`].
pub struct RemoteConsumer {
    intake: Intake,
    target: Target,
}

/// Where effects and position go.
struct Target {
    session: Session,
    tracking: Tracking,
}

impl Place for Target {
    fn session(&mut self) -> Option<&mut Session> {
        Some(&mut self.session)
    }
}

impl RemoteConsumer {
    /// Begin a consumer of `queue` named `consumer`.
    pub fn builder(queue: &str, consumer: &str) -> RemoteConsumerBuilder {
        RemoteConsumerBuilder::new(queue, consumer, Remote::default())
    }

    /// Register in the queue's database at the newest tick. A new registration forgets what the
    /// target remembers of an earlier consumer of this name. True when it was not registered
    /// before.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn register(&mut self) -> Result<bool, Error> {
        let Intake { source, subscription, .. } = &mut self.intake;
        let new = subscription.register(source.get()?.0)?;
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
        let Intake { source, subscription, .. } = &mut self.intake;
        let found = subscription.unregister(source.get()?.0)?;
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
        let Intake { source, subscription, .. } = &mut self.intake;
        let Target { session, tracking } = &mut self.target;
        let consumer = &subscription.consumer;
        let Some(tick) = tracking.position(session.get()?.0, consumer)? else {
            return Err(Error::Config(format!(
                "the target has no position of consumer \"{consumer}\" to go back to"
            )));
        };
        subscription.register_at(source.get()?.0, tick)?;
        Ok(tick)
    }

    /// Forget the position in the target: the queue's database is right.
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Lost`].
    pub fn reset(&mut self) -> Result<(), Error> {
        let Target { session, tracking } = &mut self.target;
        tracking.forget(session.get()?.0, &self.intake.subscription.consumer)
    }

    /// A handle that stops [`RemoteConsumer::run_batches`] from elsewhere.
    pub fn stop_handle(&self) -> Stop {
        self.intake.settings.stop.clone()
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
        self.intake.run(&mut self.target, |intake, target, batch| {
            batch_run::process(intake, target, batch, &mut handler).map(Some)
        })
    }
}
