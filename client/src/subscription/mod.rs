//! A consumer's place in a queue: register, take the next batch, finish it, wait for one. Plain and
//! cooperative consumers differ only here.

pub(crate) mod requests;

use std::time::Duration;

use postgres::types::Type;
use postgres::{Client, GenericClient, Row};

use crate::batch::Batch;
use crate::connector::Connector;
use crate::error::{Error, ServerError};
use crate::features::Features;
use crate::stop::Stop;

use requests::Request;

/// Which batches a consumer wants. All unset: every tick, as soon as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchRule {
    /// Stay this far behind the present.
    pub min_lag: Option<Duration>,
    /// Merge ticks until there are this many events …
    pub min_count: Option<i32>,
    /// … or until they span this much time.
    pub min_interval: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) takeover: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) queue: String,
    pub(crate) consumer: String,
    pub(crate) member: Option<Member>,
    pub(crate) rule: BatchRule,
}

/// Longest wait that a stop cannot end.
pub(crate) const UNCANCELLED_WAIT: Duration = Duration::from_secs(1);

impl Subscription {
    pub(crate) fn new(queue: &str, consumer: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            consumer: consumer.to_owned(),
            member: None,
            rule: BatchRule::default(),
        }
    }

    /// The name events, log lines and tracking tables know it by.
    pub(crate) fn full_name(&self) -> String {
        match &self.member {
            Some(member) => format!("{}.{}", self.consumer, member.name),
            None => self.consumer.clone(),
        }
    }

    /// Register; true when it was not registered before.
    pub(crate) fn register(&self, client: &mut impl GenericClient) -> Result<bool, Error> {
        Ok(ask(client, &self.registration())?.try_get::<_, i32>(0)? != 0)
    }

    /// Register at, or move to, a tick.
    pub(crate) fn register_at(
        &self,
        client: &mut impl GenericClient,
        tick: i64,
    ) -> Result<bool, Error> {
        if self.member.is_some() {
            return Err(Error::Config(
                "a cooperative member has no position of its own".to_owned(),
            ));
        }
        let row = client.query_typed_one(
            "select pgq.register_consumer_at($1, $2, $3)",
            &[(&self.queue, Type::TEXT), (&self.consumer, Type::TEXT), (&tick, Type::INT8)],
        )?;
        Ok(row.try_get::<_, i32>(0)? != 0)
    }

    /// Unregister; false when it was not registered.
    pub(crate) fn unregister(&self, client: &mut impl GenericClient) -> Result<bool, Error> {
        Ok(ask(client, &self.removal())?.try_get::<_, i32>(0)? != 0)
    }

    /// The open batch, or the next one; none when there is nothing yet.
    pub(crate) fn next_batch(
        &self,
        client: &mut impl GenericClient,
    ) -> Result<Option<Batch>, Error> {
        let row = ask(client, &self.look())?;
        if self.member.is_none() {
            return Batch::from_next_batch(&row);
        }
        match row.try_get::<_, Option<i64>>(0)? {
            Some(id) => batch_info(client, id),
            None => Ok(None),
        }
    }

    /// Finish the batch; an error when it is not ours any more, so that the caller rolls back.
    pub(crate) fn finish(
        &self,
        client: &mut impl GenericClient,
        batch_id: i64,
    ) -> Result<(), Error> {
        self.finished(batch_id, &ask(client, &self.end(batch_id))?)
    }

    /// What the answer of [`Subscription::end`] means.
    pub(crate) fn finished(&self, batch_id: i64, answer: &Row) -> Result<(), Error> {
        match answer.try_get::<_, i32>(0)? {
            0 => Err(Error::BatchGone { batch_id, consumer: self.full_name() }),
            _ => Ok(()),
        }
    }

    /// The error, or, when the batch was finished or the consumer moved by somebody else in the
    /// meantime, that.
    pub(crate) fn explain(&self, error: Error, client: &mut Client, batch_id: i64) -> Error {
        if !Self::may_be_gone(&error) {
            return error;
        }
        match batch_info(client, batch_id) {
            Ok(None) => Error::BatchGone { batch_id, consumer: self.full_name() },
            _ => error,
        }
    }

    /// Can an error be the consequence of a batch that is not ours any more?
    pub(crate) fn may_be_gone(error: &Error) -> bool {
        matches!(error, Error::Server(_)) && !error.is_transient()
    }

    /// True when waiting can be left to the server.
    pub(crate) fn can_wait(&self, features: &Features) -> bool {
        self.member.is_none()
            && self.rule == BatchRule::default()
            && features.wait_batch.is_some_and(|arguments| arguments >= 4)
    }

    /// Wait in the server for the next batch; none after the timeout or when stopped.
    pub(crate) fn wait_batch(
        &self,
        client: &mut Client,
        features: &Features,
        connector: &Connector,
        stop: &Stop,
        timeout: Duration,
    ) -> Result<Option<Batch>, Error> {
        let cancel = connector.cancel(client);
        // A wait that cannot be cut short must be short.
        let timeout = if cancel.is_some() { timeout } else { timeout.min(UNCANCELLED_WAIT) };
        let request = self.wait(features, timeout);
        let notices = connector.notices();
        let answer = stop.cancellable(cancel, || {
            notices.while_waiting(|| client.query_typed_one(&request.sql, &request.parameters()))
        });
        let row = match answer.map(|answer| answer.map_err(Error::from)) {
            None => return Ok(None),
            Some(Ok(row)) => row,
            // Cancelled by the stop.
            Some(Err(Error::Server(ServerError { sqlstate, .. })))
                if stop.is_requested() && sqlstate == "57014" =>
            {
                return Ok(None);
            }
            Some(Err(error)) => return Err(error),
        };
        match row.try_get::<_, Option<i64>>("batch_id")? {
            Some(id) => {
                notices.forget();
                batch_info(client, id)
            }
            None => Ok(None),
        }
    }
}

fn ask(client: &mut impl GenericClient, request: &Request) -> Result<Row, Error> {
    Ok(client.query_typed_one(&request.sql, &request.parameters())?)
}

fn batch_info(client: &mut impl GenericClient, id: i64) -> Result<Option<Batch>, Error> {
    Batch::from_batch_info(id, &ask(client, &requests::batch_info(id))?)
}
