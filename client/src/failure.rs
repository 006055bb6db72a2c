//! What to do with an event whose handler failed.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::{Error, HandlerError, handler_text};
use crate::event::Event;
use crate::features::Features;

/// What a handler makes of an event. `Ok(())` is [`Outcome::Done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Handled.
    Done,
    /// Not now: deliver it again after the pause. Counts as an attempt.
    Retry(Duration),
    /// Never: put it into the dead-letter queue with this text.
    Dead(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}

/// What follows a handler's error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum OnFailure {
    /// What the queue's settings say (`max_retries`, `retry_base`, `retry_max`,
    /// `dead_letter_queue`): it comes again, later each time, and then is one of the queue's dead
    /// letters. A server before PgQ 4.1 has no such settings: there it is retried for ever, 10 s to
    /// 1 h apart.
    #[default]
    AsQueueSays,
    /// Roll the batch back and deliver all of it again after a pause, until it succeeds. Keeps the
    /// order of events.
    RepeatBatch,
    /// Put the event into the retry queue and go on with the rest. Loses the order of events.
    Retry {
        /// Pauses, by attempt.
        backoff: Backoff,
        /// After this many attempts the event goes to the dead-letter queue; needs one. None: for
        /// ever.
        max_attempts: Option<u32>,
    },
}

/// What becomes of one event.
pub(crate) enum Fate {
    Done,
    Retry {
        after: Duration,
        why: Option<String>,
    },
    /// As the queue says; after a pause that the handler has asked for.
    Aside {
        after: Option<Duration>,
        why: String,
    },
    Dead {
        why: String,
    },
    Repeat {
        source: HandlerError,
    },
}

impl OnFailure {
    /// What it means on a server.
    pub(crate) fn on(self, features: &Features) -> Self {
        match self {
            Self::AsQueueSays if !features.nack => Self::Retry {
                backoff: Backoff::doubling(Duration::from_secs(10), Duration::from_secs(3600)),
                max_attempts: None,
            },
            other => other,
        }
    }

    pub(crate) fn judge(&self, event: &Event, result: Result<Outcome, HandlerError>) -> Fate {
        match (result, self) {
            (Ok(Outcome::Done), _) => Fate::Done,
            (Ok(Outcome::Retry(after)), Self::Retry { max_attempts: Some(max), .. })
                if event.attempt() >= *max =>
            {
                Fate::Dead {
                    why: format!(
                        "asked for a retry after attempt {} of {max} (in {after:?})",
                        event.attempt()
                    ),
                }
            }
            (Ok(Outcome::Retry(after)), Self::AsQueueSays) => {
                Fate::Aside { after: Some(after), why: format!("asked for a retry in {after:?}") }
            }
            (Ok(Outcome::Retry(after)), _) => Fate::Retry { after, why: None },
            (Ok(Outcome::Dead(why)), _) => Fate::Dead { why },
            // No event can be handled: this one is not to blame.
            (Err(source), _) if is_unusable(source.as_ref()) => Fate::Repeat { source },
            (Err(source), Self::AsQueueSays) => {
                Fate::Aside { after: None, why: handler_text(source.as_ref()) }
            }
            (Err(source), Self::RepeatBatch) => Fate::Repeat { source },
            (Err(source), Self::Retry { max_attempts: Some(max), .. })
                if event.attempt() >= *max =>
            {
                Fate::Dead { why: handler_text(source.as_ref()) }
            }
            (Err(source), Self::Retry { backoff, .. }) => Fate::Retry {
                after: backoff.delay(event.attempt()),
                why: Some(handler_text(source.as_ref())),
            },
        }
    }
}

fn is_unusable(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    matches!(source.downcast_ref::<Error>(), Some(Error::NoCommand { .. }))
}

/// A panic as an error.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("handler panicked: {}", text.unwrap_or_else(|| "no message".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{Fate, OnFailure, Outcome};
    use crate::backoff::Backoff;
    use crate::event::Event;
    use crate::features::Features;

    fn event(retry: Option<i32>) -> Event {
        Event {
            id: 1,
            time: SystemTime::UNIX_EPOCH,
            txid: 1,
            retry,
            ev_type: None,
            data: None,
            extra1: None,
            extra2: None,
            extra3: None,
            extra4: None,
        }
    }

    #[test]
    fn third_failure_of_three_is_the_last() {
        let policy = OnFailure::Retry {
            backoff: Backoff::constant(Duration::from_secs(5)),
            max_attempts: Some(3),
        };
        let fate = |retry| policy.judge(&event(retry), Err("no".into()));
        assert!(matches!(fate(None), Fate::Retry { after, .. } if after.as_secs() == 5));
        assert!(matches!(fate(Some(1)), Fate::Retry { .. }));
        assert!(matches!(fate(Some(2)), Fate::Dead { why } if why == "no"));
        let asked = policy.judge(&event(Some(2)), Ok(Outcome::Retry(Duration::from_secs(1))));
        assert!(matches!(asked, Fate::Dead { .. }));
    }

    #[test]
    fn the_queue_decides_where_it_can() {
        let new = Features { nack: true, ..Features::default() };
        let fate = |features| {
            let policy = OnFailure::default().on(features);
            policy.judge(&event(Some(100)), Err("no".into()))
        };
        assert!(matches!(fate(&new), Fate::Aside { after: None, why } if why == "no"));
        let old = fate(&Features::default());
        assert!(matches!(old, Fate::Retry { after, .. } if after.as_secs() == 3600));
        let five = Duration::from_secs(5);
        let asked = OnFailure::AsQueueSays.judge(&event(None), Ok(Outcome::Retry(five)));
        assert!(matches!(asked, Fate::Aside { after: Some(after), .. } if after == five));
    }
}
