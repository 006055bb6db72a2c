//! Growing pauses between attempts.

use std::time::Duration;

/// `initial`, then each time `factor` times longer, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Pause after the first failure.
    pub initial: Duration,
    /// Growth.
    pub factor: u32,
    /// Longest pause.
    pub max: Duration,
}

impl Backoff {
    /// Always the same pause.
    pub fn constant(pause: Duration) -> Self {
        Self { initial: pause, factor: 1, max: pause }
    }

    /// Doubling from `initial` to `max`.
    pub fn doubling(initial: Duration, max: Duration) -> Self {
        Self { initial, factor: 2, max }
    }

    /// Pause after failure number `attempt`, counted from 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        let mut delay = self.initial;
        for _ in 1..attempt.min(64) {
            if delay >= self.max {
                break;
            }
            delay = delay.saturating_mul(self.factor.max(1));
        }
        delay.min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::doubling(Duration::from_secs(10), Duration::from_secs(60));
        let delays: Vec<_> = (1..=5).map(|attempt| backoff.delay(attempt).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 60, 60]);
        assert_eq!(backoff.delay(u32::MAX).as_secs(), 60);
    }
}
