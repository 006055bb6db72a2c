//! What follows a failed event, as the flags of a command or the keys of an INI file say.

use std::time::Duration;

use pgq_client::{Backoff, OnFailure};

/// First pause where the consumer decides and says nothing else.
const AFTER: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(3600);

/// What was said about failures.
pub(in crate::cli) struct RetryPolicy {
    pub(in crate::cli) after: Option<Duration>,
    pub(in crate::cli) max_attempts: Option<u32>,
    /// A dead-letter queue of the consumer's own.
    pub(in crate::cli) has_queue: bool,
}

impl RetryPolicy {
    /// Who says nothing leaves it to the queue.
    pub(in crate::cli) fn on_failure(&self) -> OnFailure {
        let Self { after, max_attempts, has_queue } = *self;
        if after.is_none() && max_attempts.is_none() && !has_queue {
            return OnFailure::AsQueueSays;
        }
        let backoff = Backoff::doubling(after.unwrap_or(AFTER), LONGEST);
        OnFailure::Retry { backoff, max_attempts }
    }
}
