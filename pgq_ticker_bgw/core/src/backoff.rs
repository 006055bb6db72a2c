//! How long to wait before something that failed is tried again.

use std::time::Duration;

/// What ran at least this long had settled: its failure is the first of a new series.
pub const SETTLED: Duration = Duration::from_secs(60);
/// The first pause. Each further one of a series is twice as long.
pub const FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
pub const LAST: Duration = Duration::from_secs(60);

/// The pauses of one series of failures.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// It failed after it had run so long. How long to wait now.
    pub fn failed_after(&mut self, ran: Duration) -> Duration {
        let pause = if ran >= SETTLED { FIRST } else { self.next };
        self.next = (pause * 2).min(LAST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> =
            (0..10).map(|_| backoff.failed_after(Duration::ZERO).as_millis()).collect();
        let expected = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(pauses, expected);
    }

    #[test]
    fn what_had_settled_begins_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed_after(SETTLED - Duration::from_micros(1));
        }
        assert_eq!(backoff.failed_after(SETTLED), FIRST);
        assert_eq!(backoff.failed_after(Duration::ZERO), FIRST * 2);
    }
}
