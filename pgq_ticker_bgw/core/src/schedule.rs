//! When the worker does what. Pure: time is a number of microseconds that only grows.

use std::collections::HashMap;

/// Something done again and again, with a period that may change in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    done: Option<u64>,
}

impl Timer {
    /// When it is due; at once if it was never done.
    pub fn due(&self, period: u64) -> u64 {
        self.done.map_or(0, |done| done.saturating_add(period))
    }

    /// It was done now: due again a period later. What was missed while the worker was busy is not
    /// made up for.
    pub fn rearm(&mut self, now: u64) {
        self.done = Some(now);
    }
}

/// Keeps the ticks of each queue apart: the first one at once, the next no sooner than the given
/// interval.
///
/// Without this a consumer that is slower than the producer would drown in batches of one event.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    not_before: HashMap<i32, u64>,
}

impl Gates {
    /// Of the queues that ask for a tick, those that may have it now; and when the first of the
    /// others may.
    pub fn open(&self, queues: &[i32], now: u64) -> (Vec<i32>, Option<u64>) {
        let mut open = Vec::new();
        let mut next: Option<u64> = None;
        for &queue in queues {
            match self.not_before.get(&queue) {
                Some(&time) if time > now => {
                    next = Some(next.map_or(time, |earliest| earliest.min(time)));
                }
                _ => open.push(queue),
            }
        }
        (open, next)
    }

    /// The queue was ticked, or that was tried: not again before `interval` is over.
    pub fn shut(&mut self, queue: i32, now: u64, interval: u64) {
        // Gates that are open again say nothing; drop them before there are many.
        if self.not_before.len() >= 1024 {
            self.not_before.retain(|_, time| *time > now);
        }
        self.not_before.insert(queue, now.saturating_add(interval));
    }
}

#[cfg(test)]
mod tests {
    use super::{Gates, Timer};

    #[test]
    fn the_first_tick_is_immediate_and_the_next_waits() {
        let mut gates = Gates::default();
        assert_eq!(gates.open(&[7], 1000), (vec![7], None));
        gates.shut(7, 1000, 5000);
        assert_eq!(gates.open(&[7], 5999), (vec![], Some(6000)));
        assert_eq!(gates.open(&[7], 6000), (vec![7], None));
    }

    #[test]
    fn a_busy_queue_does_not_delay_another() {
        let mut gates = Gates::default();
        gates.shut(1, 0, 5000);
        gates.shut(2, 1000, 5000);
        assert_eq!(gates.open(&[1, 2, 3], 100), (vec![3], Some(5000)));
    }

    #[test]
    fn many_queues_leave_no_gates_behind() {
        let mut gates = Gates::default();
        for queue in 0..100_000 {
            gates.shut(queue, u64::try_from(queue).unwrap() * 10, 5);
        }
        assert!(gates.not_before.len() <= 1024);
    }

    #[test]
    fn a_timer_comes_once_after_a_pause_longer_than_its_period() {
        let mut timer = Timer::default();
        assert_eq!(timer.due(1000), 0);
        timer.rearm(10_500);
        assert_eq!(timer.due(1000), 11_500);
    }

    #[test]
    fn a_shorter_period_takes_effect_at_once() {
        let mut timer = Timer::default();
        timer.rearm(100);
        assert_eq!(timer.due(1_000_000), 1_000_100);
        assert_eq!(timer.due(50), 150);
    }
}
