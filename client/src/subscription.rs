//! A consumer's place in a queue: register, take the next batch, finish it, wait for one. Plain and
//! cooperative consumers differ only here.

use std::time::Duration;

use postgres::types::{ToSql, Type};
use postgres::{Client, GenericClient};

use crate::batch::Batch;
use crate::connector::Connector;
use crate::error::{Error, ServerError};
use crate::features::Features;
use crate::stop::Stop;

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
const UNCANCELLED_WAIT: Duration = Duration::from_secs(1);

/// An interval for `$n::interval`.
fn interval(duration: Option<Duration>) -> Option<String> {
    duration.map(|duration| format!("{} microseconds", duration.as_micros()))
}

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
        let row = match &self.member {
            None => client.query_typed_one(
                "select pgq.register_consumer($1, $2)",
                &[(&self.queue, Type::TEXT), (&self.consumer, Type::TEXT)],
            )?,
            Some(member) => client.query_typed_one(
                "select pgq_coop.register_subconsumer($1, $2, $3)",
                &[
                    (&self.queue, Type::TEXT),
                    (&self.consumer, Type::TEXT),
                    (&member.name, Type::TEXT),
                ],
            )?,
        };
        Ok(row.try_get::<_, i32>(0)? != 0)
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
        let row = match &self.member {
            None => client.query_typed_one(
                "select pgq.unregister_consumer($1, $2)",
                &[(&self.queue, Type::TEXT), (&self.consumer, Type::TEXT)],
            )?,
            Some(member) => client.query_typed_one(
                "select pgq_coop.unregister_subconsumer($1, $2, $3, 0)",
                &[
                    (&self.queue, Type::TEXT),
                    (&self.consumer, Type::TEXT),
                    (&member.name, Type::TEXT),
                ],
            )?,
        };
        Ok(row.try_get::<_, i32>(0)? != 0)
    }

    /// The open batch, or the next one; none when there is nothing yet.
    pub(crate) fn next_batch(
        &self,
        client: &mut impl GenericClient,
    ) -> Result<Option<Batch>, Error> {
        let min_lag = interval(self.rule.min_lag);
        let min_interval = interval(self.rule.min_interval);
        let Some(member) = &self.member else {
            let row = client.query_typed_one(
                "select * from pgq.next_batch_custom($1, $2, $3::interval, $4, $5::interval)",
                &[
                    (&self.queue, Type::TEXT),
                    (&self.consumer, Type::TEXT),
                    (&min_lag, Type::TEXT),
                    (&self.rule.min_count, Type::INT4),
                    (&min_interval, Type::TEXT),
                ],
            )?;
            return Batch::from_next_batch(&row);
        };
        let takeover = interval(member.takeover);
        let row = client.query_typed_one(
            "select pgq_coop.next_batch_custom($1, $2, $3, $4::interval, $5, $6::interval, $7::interval)",
            &[
                (&self.queue, Type::TEXT),
                (&self.consumer, Type::TEXT),
                (&member.name, Type::TEXT),
                (&min_lag, Type::TEXT),
                (&self.rule.min_count, Type::INT4),
                (&min_interval, Type::TEXT),
                (&takeover, Type::TEXT),
            ],
        )?;
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
        let sql = match self.member {
            None => "select pgq.finish_batch($1)",
            Some(_) => "select pgq_coop.finish_batch($1)",
        };
        let row = client.query_typed_one(sql, &[(&batch_id, Type::INT8)])?;
        match row.try_get::<_, i32>(0)? {
            0 => Err(Error::BatchGone { batch_id, consumer: self.full_name() }),
            _ => Ok(()),
        }
    }

    /// The error, or, when the batch was finished or the consumer moved by somebody else in the
    /// meantime, that.
    pub(crate) fn explain(&self, error: Error, client: &mut Client, batch_id: i64) -> Error {
        if !matches!(error, Error::Server(_)) || error.is_transient() {
            return error;
        }
        match batch_info(client, batch_id) {
            Ok(None) => Error::BatchGone { batch_id, consumer: self.full_name() },
            _ => error,
        }
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
        let outputs = usize::try_from(features.wait_batch.unwrap_or(4)).unwrap_or(4) - 3;
        let nulls = vec!["null"; outputs].join(", ");
        let sql = format!("call pgq.wait_batch($1, $2, $3::interval, {nulls})");
        let cancel = connector.cancel(client);
        // A wait that cannot be cut short must be short.
        let timeout = if cancel.is_some() { timeout } else { timeout.min(UNCANCELLED_WAIT) };
        let timeout = interval(Some(timeout));
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&self.queue, Type::TEXT), (&self.consumer, Type::TEXT), (&timeout, Type::TEXT)];
        let notices = connector.notices();
        let answer = stop.cancellable(cancel, || {
            notices.while_waiting(|| client.query_typed_one(&sql, &parameters))
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

fn batch_info(client: &mut impl GenericClient, id: i64) -> Result<Option<Batch>, Error> {
    let row =
        client.query_typed_one("select * from pgq.get_batch_info($1)", &[(&id, Type::INT8)])?;
    Batch::from_batch_info(id, &row)
}
