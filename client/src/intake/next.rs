//! How a consumer gets its batches: by waiting in the server, by looking now and then, or only as
//! far as there are events now.

use std::time::Duration;

use super::Intake;
use crate::batch::Batch;
use crate::error::Error;
use crate::subscription::BatchRule;
use crate::until_now::{Reach, UntilNow};

/// What there is to do.
pub(super) enum Next {
    Batch(Batch),
    /// Nothing yet; ask again.
    Nothing,
    /// Everything that was to be handled has been.
    End,
}

/// A look costs a round trip.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

impl Intake {
    /// The next batch. Waits for one, unless there is something to end for.
    pub(super) fn next(&mut self) -> Result<Next, Error> {
        if self.settings.stop_when_empty {
            return self.next_until_now();
        }
        let (client, _) = self.source.get()?;
        let batch = match self.subscription.next_batch(client)? {
            None if !self.settings.stop.is_requested() => self.wait(Duration::MAX)?,
            other => other,
        };
        Ok(batch.map_or(Next::Nothing, Next::Batch))
    }

    fn next_until_now(&mut self) -> Result<Next, Error> {
        let (client, _) = self.source.get()?;
        // Taken: after a failure the server may be another one, and "now" is later.
        let mut goal = match self.until.take() {
            Some(goal) => goal,
            None => UntilNow::begin(client)?,
        };
        let next = self.next_until(&mut goal)?;
        self.until = Some(goal);
        Ok(next)
    }

    fn next_until(&mut self, goal: &mut UntilNow) -> Result<Next, Error> {
        let Self { source, subscription, settings, .. } = self;
        let (client, _) = source.get()?;
        // A member has no position of its own.
        if subscription.member.is_none()
            && goal.is_past(client, &subscription.queue, &subscription.consumer)?
        {
            return Ok(Next::End);
        }
        let mut batch = subscription.next_batch(client)?;
        if batch.is_none() && !goal.is_reached() && !settings.stop.is_requested() {
            // With rules of its own for batches a consumer leaves ticks for later, and others wait
            // for nothing.
            let reach = if subscription.rule == BatchRule::default() {
                goal.look(client, &subscription.queue)?
            } else {
                goal.give_up()
            };
            batch = match reach {
                // A tick may have come between the two looks.
                Reach::Reached => subscription.next_batch(client)?,
                Reach::Wait(at_most) => self.wait(at_most)?,
            };
        }
        Ok(match batch {
            Some(batch) => Next::Batch(batch),
            None if goal.is_reached() => Next::End,
            None => Next::Nothing,
        })
    }

    /// Wait for a batch in the server where it can, else pause.
    fn wait(&mut self, at_most: Duration) -> Result<Option<Batch>, Error> {
        let Self { source, subscription, settings, .. } = self;
        let connector = source.connector().clone();
        let (client, features) = source.get()?;
        if !settings.wait_timeout.is_zero() && subscription.can_wait(features) {
            let timeout = settings.wait_timeout.min(at_most);
            return subscription.wait_batch(client, features, &connector, &settings.stop, timeout);
        }
        settings.stop.sleep(settings.poll_interval.max(SHORTEST_PAUSE).min(at_most));
        Ok(None)
    }
}
