//! Settings of a consumer, beside those of all kinds.

use std::path::Path;
use std::time::Duration;

use super::{Consumer, Position};
use crate::builder::Builder;
use crate::connector::Connector;
use crate::error::Error;
use crate::failure::OnFailure;
use crate::intake::Intake;
use crate::position::PositionFile;
use crate::session::Session;
use crate::subscription::Member;

/// Builds a [`Consumer`].
pub type ConsumerBuilder = Builder<Local>;

/// A [`Consumer`], whose effects go where its queue is.
#[derive(Default)]
pub struct Local {
    on_failure: OnFailure,
    position: Position,
}

impl Builder<Local> {
    /// Be a member of a group that shares the consumer's position (extension pgq_coop): each batch
    /// goes to one member, so batches are processed side by side and out of order. A member that
    /// has not been heard of for `takeover` loses its batch to another.
    pub fn cooperative(mut self, member: &str, takeover: Option<Duration>) -> Self {
        self.subscription.member = Some(Member { name: member.to_owned(), takeover });
        self
    }

    /// Keep the position in this file, for effects on this machine that are restored together with
    /// it: python-pgq's LocalConsumer. At the start and after failures the queue is made to follow
    /// the file; the consumer is registered when it is not. Effects are at least once, those in the
    /// queue's database too.
    pub fn position_file(mut self, path: &Path) -> Self {
        self.kind.position.file = Some(PositionFile::new(path));
        self
    }

    /// What follows a handler's failure. Default: what the queue says.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.kind.on_failure = on_failure;
        self
    }

    /// Connect.
    ///
    /// # Errors
    /// [`Error::Config`] when attempts are limited but there is no dead-letter queue, or for a
    /// cooperative consumer with a position file; [`Error::Connect`]; [`Error::Missing`] without
    /// extension pgq, or pgq_coop for a cooperative consumer.
    pub fn connect(self, dsn: &str) -> Result<Consumer, Error> {
        self.connect_to(Connector::new(dsn)?)
    }

    /// Connect with a connector made before.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::connect`].
    pub fn connect_to(self, connector: Connector) -> Result<Consumer, Error> {
        let Self { subscription, settings, kind: Local { on_failure, position } } = self;
        let is_limited = matches!(on_failure, OnFailure::Retry { max_attempts: Some(_), .. });
        if is_limited && settings.dead_letter_queue.is_none() {
            return Err(Error::Config(
                "a maximum of attempts needs a dead-letter queue for what exceeds it".to_owned(),
            ));
        }
        if position.file.is_some() && subscription.member.is_some() {
            return Err(Error::Config(
                "a cooperative member has no position of its own to keep in a file".to_owned(),
            ));
        }
        let mut source = Session::to_queue(connector.application_name(&subscription.full_name()));
        let (_, features) = source.get()?;
        if subscription.member.is_some() && !features.coop {
            return Err(Error::Missing(
                "cooperative consumers need extension pgq_coop: run \"create extension pgq_coop\""
                    .to_owned(),
            ));
        }
        Ok(Consumer { intake: Intake::new(source, subscription, settings), position, on_failure })
    }
}
