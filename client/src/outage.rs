//! One message when trouble begins and one when it is over, with growing pauses between.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::Error;

pub(crate) struct Outage {
    who: String,
    attempts: u32,
    away: bool,
    last_text: String,
}

impl Outage {
    pub(crate) fn new(who: String) -> Self {
        Self { who, attempts: 0, away: false, last_text: String::new() }
    }

    /// Log the error if it is news; how long to wait before trying again.
    pub(crate) fn pause(&mut self, error: &Error) -> Duration {
        let text = error.to_string();
        if self.is_news(error, &text) {
            log::warn!("{}: {text}; trying again", self.who);
        } else {
            log::debug!("{}: {text}", self.who);
        }
        // A batch that another process took was no outage, whose end would be news.
        if !matches!(error, Error::BatchGone { .. }) {
            self.attempts = self.attempts.saturating_add(1);
        }
        let backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(15));
        backoff.delay(self.attempts.max(1))
    }

    /// A server that is away says so in several ways before it is back; that is one outage. What
    /// somebody has to do something about is told apart by its text.
    fn is_news(&mut self, error: &Error, text: &str) -> bool {
        if error.is_outage() {
            return !std::mem::replace(&mut self.away, true);
        }
        let news = text != self.last_text;
        text.clone_into(&mut self.last_text);
        news
    }

    /// It works again. Said as loudly as the trouble was.
    pub(crate) fn over(&mut self) {
        if self.attempts > 0 {
            let attempts = if self.attempts == 1 { "attempt" } else { "attempts" };
            log::warn!("{}: works again after {} failed {attempts}", self.who, self.attempts);
            *self = Self::new(std::mem::take(&mut self.who));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Outage};

    #[test]
    fn an_outage_is_news_once_and_each_mistake_is() {
        let mut outage = Outage::new("c".to_owned());
        let mut news = |error: Error| outage.is_news(&error, &error.to_string());
        assert!(news(Error::Lost("terminating".to_owned())));
        let refused =
            Error::Connect { to: "x".to_owned(), reason: "refused".to_owned(), sqlstate: None };
        assert!(!news(refused));
        assert!(news(Error::Absent("column a".to_owned())));
        assert!(!news(Error::Absent("column a".to_owned())));
        assert!(news(Error::Absent("column b".to_owned())));
        assert!(!news(Error::Lost("again".to_owned())));
    }
}
