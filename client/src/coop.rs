//! The cooperative consumer: several processes share the batches of one consumer.

use std::time::Duration;

use crate::connector::Connector;
use crate::consumer::{Consumer, ConsumerBuilder, OpenBatch};
use crate::error::{Error, HandlerError};
use crate::event::Event;
use crate::failure::Outcome;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::work::Work;

/// A member of a group that shares one consumer's batches (extension pgq_coop). Made by
/// [`CoopConsumer::builder`].
///
/// Each batch goes to one member, so batches are processed side by side and in no particular order.
/// A member is a [`Consumer`] in everything else, with the same guarantees; it has no position of
/// its own to move.
///
/// ```no_run
/// use std::time::Duration;
/// use pgq_client::{Backoff, CoopConsumer, OnFailure};
///
/// let mut member = CoopConsumer::builder("orders", "mailers", "mailer-1")
///     .takeover(Duration::from_secs(60))
///     .settings(|consumer| consumer.on_failure(OnFailure::RepeatBatch))
///     .connect("dbname=shop")?;
/// member.register()?;
/// member.run(|_work, event| {
///     println!("{:?}", event.data);
///     Ok(())
/// })?;
/// # Ok::<(), pgq_client::Error>(())
/// ```
pub struct CoopConsumer {
    consumer: Consumer,
}

/// Builds a [`CoopConsumer`].
pub struct CoopConsumerBuilder {
    consumer: ConsumerBuilder,
    member: String,
    takeover: Option<Duration>,
}

impl CoopConsumer {
    /// Begin a member named `member` of the group `consumer` on `queue`.
    pub fn builder(queue: &str, consumer: &str, member: &str) -> CoopConsumerBuilder {
        CoopConsumerBuilder {
            consumer: Consumer::builder(queue, consumer),
            member: member.to_owned(),
            takeover: None,
        }
    }

    /// Register the member, and the group at the newest tick when it is new. True when the member
    /// was not registered before.
    ///
    /// # Errors
    /// [`Error::Server`]: no such queue (42704), not permitted (42501).
    pub fn register(&mut self) -> Result<bool, Error> {
        self.consumer.register()
    }

    /// Unregister the member; the group stays. False when it was not registered.
    ///
    /// # Errors
    /// [`Error::Server`] when the member has a batch open, [`Error::Lost`].
    pub fn unregister(&mut self) -> Result<bool, Error> {
        self.consumer.unregister()
    }

    /// A handle that stops [`CoopConsumer::run`] from elsewhere.
    pub fn stop_handle(&self) -> Stop {
        self.consumer.stop_handle()
    }

    /// Totals of this member so far.
    pub fn stats(&self) -> Stats {
        self.consumer.stats()
    }

    /// Hand each event of this member's batches to `handler` until stopped; see [`Consumer::run`].
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub fn run<R, H>(&mut self, handler: H) -> Result<Stats, Error>
    where
        R: Into<Outcome>,
        H: FnMut(&mut Work<'_, '_>, &Event) -> Result<R, HandlerError>,
    {
        self.consumer.run(handler)
    }

    /// Hand this member's batches to `handler` until stopped; see [`Consumer::run_batches`].
    ///
    /// # Errors
    /// As [`Consumer::run`].
    pub fn run_batches<H>(&mut self, handler: H) -> Result<Stats, Error>
    where
        H: FnMut(&mut OpenBatch<'_, '_>) -> Result<(), HandlerError>,
    {
        self.consumer.run_batches(handler)
    }
}

impl CoopConsumerBuilder {
    /// Take over the batch of a member that has not been heard of for so long. Default: never.
    pub fn takeover(mut self, silence: Duration) -> Self {
        self.takeover = Some(silence);
        self
    }

    /// Settings that all consumers have.
    pub fn settings(mut self, set: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder) -> Self {
        self.consumer = set(self.consumer);
        self
    }

    /// Connect.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::connect`]; [`Error::Missing`] without extension pgq_coop.
    pub fn connect(self, dsn: &str) -> Result<CoopConsumer, Error> {
        self.connect_to(Connector::new(dsn)?)
    }

    /// Connect with a connector made before.
    ///
    /// # Errors
    /// As [`CoopConsumerBuilder::connect`].
    pub fn connect_to(self, connector: Connector) -> Result<CoopConsumer, Error> {
        let builder = self.consumer.cooperative(&self.member, self.takeover);
        Ok(CoopConsumer { consumer: builder.connect_to(connector)? })
    }
}
