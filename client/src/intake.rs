//! How a consumer gets its batches: by waiting in the server, by looking now and then, or only as
//! far as there are events now.

use std::time::Duration;

use crate::batch::Batch;
use crate::error::Error;
use crate::session::Session;
use crate::stop::Stop;
use crate::subscription::{BatchRule, Subscription};
use crate::until_now::{Reach, UntilNow};

/// What there is to do.
pub(crate) enum Next {
    Batch(Batch),
    /// Nothing yet; ask again.
    Nothing,
    /// Everything that was to be handled has been.
    End,
}

/// A look costs a round trip.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Settings of both kinds of consumers, and how far a run until now has come.
pub(crate) struct Intake {
    /// Between looks for a batch, where nobody waits in the server.
    pub(crate) poll_interval: Duration,
    /// Longest wait in the server; zero: none.
    pub(crate) wait_timeout: Duration,
    /// End when what was committed before the run has been handled.
    pub(crate) stop_when_empty: bool,
    until: Option<UntilNow>,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            wait_timeout: Duration::from_secs(30),
            stop_when_empty: false,
            until: None,
        }
    }
}

impl Intake {
    /// A run begins: "now" is now.
    pub(crate) fn begin(&mut self) {
        self.until = None;
    }

    /// The next batch. Waits for one, unless there is something to end for.
    pub(crate) fn next(
        &mut self,
        subscription: &Subscription,
        session: &mut Session,
        stop: &Stop,
    ) -> Result<Next, Error> {
        if self.stop_when_empty {
            return self.next_until_now(subscription, session, stop);
        }
        let (client, _) = session.get()?;
        let batch = match subscription.next_batch(client)? {
            None if !stop.is_requested() => {
                self.wait(subscription, session, stop, Duration::MAX)?
            }
            other => other,
        };
        Ok(batch.map_or(Next::Nothing, Next::Batch))
    }

    fn next_until_now(
        &mut self,
        subscription: &Subscription,
        session: &mut Session,
        stop: &Stop,
    ) -> Result<Next, Error> {
        let (client, _) = session.get()?;
        let mut until = match self.until.take() {
            Some(until) => until,
            None => UntilNow::begin(client)?,
        };
        // A member has no position of its own.
        if subscription.member.is_none()
            && until.is_past(client, &subscription.queue, &subscription.consumer)?
        {
            self.until = Some(until);
            return Ok(Next::End);
        }
        let mut batch = subscription.next_batch(client)?;
        if batch.is_none() && !until.is_reached() && !stop.is_requested() {
            // With rules of its own for batches a consumer leaves ticks for later, and others wait
            // for nothing.
            let reach = if subscription.rule == BatchRule::default() {
                until.look(client, &subscription.queue)?
            } else {
                until.give_up()
            };
            match reach {
                // A tick may have come between the two looks.
                Reach::Reached => batch = subscription.next_batch(client)?,
                Reach::Wait(at_most) => {
                    batch = self.wait(subscription, session, stop, at_most)?;
                }
            }
        }
        let reached = until.is_reached();
        self.until = Some(until);
        Ok(match batch {
            Some(batch) => Next::Batch(batch),
            None if reached => Next::End,
            None => Next::Nothing,
        })
    }

    /// Wait for a batch in the server where it can, else pause.
    fn wait(
        &self,
        subscription: &Subscription,
        session: &mut Session,
        stop: &Stop,
        at_most: Duration,
    ) -> Result<Option<Batch>, Error> {
        let connector = session.connector().clone();
        let (client, features) = session.get()?;
        if !self.wait_timeout.is_zero() && subscription.can_wait(features) {
            let timeout = self.wait_timeout.min(at_most);
            return subscription.wait_batch(client, features, &connector, stop, timeout);
        }
        stop.sleep(self.poll_interval.max(SHORTEST_PAUSE).min(at_most));
        Ok(None)
    }
}
