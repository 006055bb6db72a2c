//! Waits for a batch: in the server where it can, else a pause.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::timeout;

use super::AsyncConsumer;
use crate::error::{Error, ServerError};
use crate::subscription::UNCANCELLED_WAIT;

/// A look costs a round trip.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Between cancel requests for the same statement: one that came before it has met none.
const AGAIN: Duration = Duration::from_millis(100);

impl AsyncConsumer {
    /// The id of a batch; none after a while, or when stopped.
    pub(super) async fn wait(&mut self) -> Result<Option<i64>, Error> {
        let Self { session, subscription, settings, .. } = self;
        let connector = session.connector.clone();
        let (client, features) = session.get().await?;
        if settings.wait_timeout.is_zero() || !subscription.can_wait(features) {
            settings.stop.sleep(settings.poll_interval.max(SHORTEST_PAUSE)).await;
            return Ok(None);
        }
        let cancel = connector.cancel_async(client);
        // A wait that cannot be cut short must be short.
        let limit = settings.wait_timeout;
        let limit = if cancel.is_some() { limit } else { limit.min(UNCANCELLED_WAIT) };
        let request = subscription.wait(features, limit);
        let parameters = request.parameters();
        let wait = pin!(client.query_typed_one(&request.sql, &parameters));
        let stopped = pin!(settings.stop.requested());
        let waits = connector.notices().wait();
        let answer = match select(wait, stopped).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), mut wait)) => loop {
                if let Some(cancel) = &cancel
                    && let Err(error) = cancel.send().await
                {
                    log::debug!("cancel request: {error}");
                }
                if let Ok(answer) = timeout(AGAIN, &mut wait).await {
                    break answer;
                }
            },
        };
        drop(waits);
        match answer.map_err(Error::from) {
            Ok(row) => {
                let id: Option<i64> = row.try_get("batch_id")?;
                if id.is_some() {
                    connector.notices().forget();
                }
                Ok(id)
            }
            // Cancelled by the stop.
            Err(Error::Server(ServerError { sqlstate, .. }))
                if settings.stop.is_requested() && sqlstate == "57014" =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
