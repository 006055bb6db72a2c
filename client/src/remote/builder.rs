//! Settings of a remote consumer, beside those of all kinds.

use super::{RemoteConsumer, Target, Tracking};
use crate::builder::Builder;
use crate::connector::Connector;
use crate::error::Error;
use crate::intake::Intake;
use crate::session::Session;

/// Builds a [`RemoteConsumer`].
pub type RemoteConsumerBuilder = Builder<Remote>;

/// A [`RemoteConsumer`], whose effects go into another database.
#[derive(Default)]
pub struct Remote {
    tracking: Tracking,
}

impl Builder<Remote> {
    /// How the target remembers. Default: by tick.
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.kind.tracking = tracking;
        self
    }

    /// Connect to the queue's database and to the target.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::Missing`] without extension pgq in the source or pgq_ext in the
    /// target.
    pub fn connect(self, source: Connector, target: Connector) -> Result<RemoteConsumer, Error> {
        let Self { subscription, settings, kind: Remote { tracking } } = self;
        let name = &subscription.consumer;
        let mut source = Session::to_queue(source.application_name(name));
        let mut session = Session::to_target(target.application_name(name));
        source.get()?;
        if !session.get()?.1.ext {
            return Err(Error::Missing(format!(
                "{}: extension pgq_ext is not installed there; run \"create extension pgq_ext\"",
                session.connector().label()
            )));
        }
        let intake = Intake::new(source, subscription, settings);
        Ok(RemoteConsumer { intake, target: Target { session, tracking } })
    }
}
