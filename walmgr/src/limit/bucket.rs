//! A token bucket. Pure: the time is told.

use std::time::Duration;

/// What was saved up is worth at most this long.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket that may be overdrawn: what is taken is always given, and paid for by waiting.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// When all that was taken is paid for.
    paid: Duration,
}

impl Bucket {
    /// So many bytes a second; at least one.
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), paid: Duration::ZERO }
    }

    /// When all that was taken is paid for.
    #[cfg(test)]
    pub(super) fn paid(&self) -> Duration {
        self.paid
    }

    /// Take bytes at a time; how long to wait before using them. Times may come out of order by as
    /// much as threads do.
    pub(super) fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        self.paid = self.paid.max(now.saturating_sub(BURST));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.paid = self.paid.saturating_add(cost);
        self.paid.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{BURST, Bucket};

    #[test]
    fn what_is_saved_up_is_bounded() {
        let mut bucket = Bucket::new(1000);
        let at = Duration::from_secs;
        // After an hour of rest, a tenth of a second's worth comes at once.
        assert_eq!(bucket.take(100, at(3600)), Duration::ZERO);
        assert_eq!(bucket.take(1000, at(3600)), at(1));
        assert_eq!(bucket.take(0, at(3601)), Duration::ZERO);
        assert_eq!(Bucket::new(0).take(u64::MAX, at(0)), Duration::from_nanos(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_span_gets_more_than_its_rate_and_a_burst(
            rate in 1_000_u64..1_000_000_000,
            takes in prop::collection::vec((0_u64..400_000, 0_u64..2_000_000), 1..60),
        ) {
            let mut bucket = Bucket::new(rate);
            let mut now = Duration::ZERO;
            let mut used = Vec::new();
            for (bytes, pause) in takes {
                now += Duration::from_micros(pause);
                now += bucket.take(bytes, now);
                used.push((now, bytes));
            }
            for (first, (from, _)) in used.iter().enumerate() {
                let mut sum = 0;
                for (until, bytes) in used.iter().skip(first + 1) {
                    sum += bytes;
                    let span = (*until - *from + BURST).as_nanos() + 1_000;
                    let most = u128::from(rate) * span / 1_000_000_000 + 1;
                    prop_assert!(u128::from(sum) <= most, "{} {}", sum, most);
                }
            }
        }

        #[test]
        fn whoever_is_always_busy_gets_the_rate(
            rate in 1_000_u64..1_000_000_000, bytes in 1_u64..400_000, count in 1_u32..60,
        ) {
            let mut bucket = Bucket::new(rate);
            let mut now = Duration::ZERO;
            for _ in 0..count {
                now += bucket.take(bytes, now);
            }
            let due = u128::from(bytes) * u128::from(count) * 1_000_000_000 / u128::from(rate);
            prop_assert!(now.as_nanos() <= due);
        }
    }
}
