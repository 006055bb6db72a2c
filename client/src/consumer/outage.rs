//! One message when trouble begins and one when it is over, with growing pauses between.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::Error;

pub(crate) struct Outage {
    who: String,
    attempts: u32,
    last_text: String,
}

impl Outage {
    pub(crate) fn new(who: String) -> Self {
        Self { who, attempts: 0, last_text: String::new() }
    }

    /// Log the error unless it is the one logged last; how long to wait before trying again.
    pub(crate) fn pause(&mut self, error: &Error) -> Duration {
        let text = error.to_string();
        if text != self.last_text {
            log::warn!("{}: {text}; trying again", self.who);
            self.last_text = text;
        }
        self.attempts = self.attempts.saturating_add(1);
        Backoff::doubling(Duration::from_millis(100), Duration::from_secs(15)).delay(self.attempts)
    }

    /// It works again.
    pub(crate) fn over(&mut self) {
        if self.attempts > 0 {
            log::info!("{}: works again after {} failed attempts", self.who, self.attempts);
            self.attempts = 0;
            self.last_text.clear();
        }
    }
}
