//! Processes that are wished for, one each: which to start, which to end, and when to try again
//! after one has failed.
//!
//! Times are durations since whoever keeps them began.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::backoff::Backoff;

/// Processes by number, each with what it was started for.
#[derive(Clone, Debug)]
pub struct Crew<W> {
    wishes: BTreeMap<i32, W>,
    seats: BTreeMap<i32, Seat<W>>,
}

#[derive(Clone, Debug)]
struct Seat<W> {
    wish: W,
    backoff: Backoff,
    started: Duration,
    not_before: Duration,
    /// It was asked for, and its end was not seen.
    is_there: bool,
    is_ending: bool,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed<W> {
    /// Start one.
    Start(i32, W),
    /// Have it end.
    End(i32),
}

impl<W> Default for Crew<W> {
    fn default() -> Self {
        Self { wishes: BTreeMap::new(), seats: BTreeMap::new() }
    }
}

impl<W: Clone + PartialEq> Crew<W> {
    /// From now on these are wished for.
    pub fn wish(&mut self, wishes: BTreeMap<i32, W>) {
        self.wishes = wishes;
    }

    /// What to do now. `is_running` says whether the process of a number that was started is there.
    pub fn review(&mut self, now: Duration, is_running: impl Fn(i32) -> bool) -> Vec<Deed<W>> {
        let mut deeds = Vec::new();
        for (number, seat) in &mut self.seats {
            if seat.is_there && !is_running(*number) {
                seat.is_there = false;
                let ran = now.saturating_sub(seat.started);
                // One that was told to end has not failed.
                seat.not_before = match std::mem::take(&mut seat.is_ending) {
                    true => now,
                    false => now + seat.backoff.failed_after(ran),
                };
            }
            let is_wanted = self.wishes.get(number) == Some(&seat.wish);
            if seat.is_there && !is_wanted {
                seat.is_ending = true;
                deeds.push(Deed::End(*number));
            }
        }
        let wishes = &self.wishes;
        self.seats.retain(|number, seat| seat.is_there || wishes.get(number) == Some(&seat.wish));
        for (number, wish) in wishes {
            let seat = self.seats.entry(*number).or_insert_with(|| Seat {
                wish: wish.clone(),
                backoff: Backoff::default(),
                started: now,
                not_before: now,
                is_there: false,
                is_ending: false,
            });
            if !seat.is_there && now >= seat.not_before {
                (seat.is_there, seat.started) = (true, now);
                deeds.push(Deed::Start(*number, wish.clone()));
            }
        }
        deeds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::{FIRST, SETTLED};

    const NOW: Duration = Duration::from_secs(100);

    fn crew(wish: &'static str) -> Crew<&'static str> {
        let mut crew = Crew::default();
        crew.wish(BTreeMap::from([(1, wish)]));
        crew
    }

    #[test]
    fn a_wish_is_a_process() {
        let mut crew = crew("a");
        assert_eq!(crew.review(NOW, |_| false), [Deed::Start(1, "a")]);
        assert_eq!(crew.review(NOW, |_| true), []);
    }

    #[test]
    fn what_ends_by_itself_comes_again_later_and_later() {
        let mut crew = crew("a");
        crew.review(NOW, |_| false);
        assert_eq!(crew.review(NOW, |_| false), []);
        assert_eq!(crew.review(NOW + FIRST, |_| false), [Deed::Start(1, "a")]);
        assert_eq!(crew.review(NOW + FIRST, |_| false), []);
        assert_eq!(crew.review(NOW + FIRST * 2, |_| false), []);
        assert_eq!(crew.review(NOW + FIRST * 3, |_| false), [Deed::Start(1, "a")]);
        let late = NOW + FIRST * 3 + SETTLED;
        assert_eq!(crew.review(late, |_| false), []);
        assert_eq!(crew.review(late + FIRST, |_| false), [Deed::Start(1, "a")]);
    }

    #[test]
    fn a_changed_wish_ends_the_process_and_begins_another_at_once() {
        let mut crew = crew("a");
        crew.review(NOW, |_| false);
        crew.wish(BTreeMap::from([(1, "b")]));
        assert_eq!(crew.review(NOW, |_| true), [Deed::End(1)]);
        // It may not have heard.
        assert_eq!(crew.review(NOW, |_| true), [Deed::End(1)]);
        assert_eq!(crew.review(NOW, |_| false), [Deed::Start(1, "b")]);
    }

    #[test]
    fn nothing_is_left_of_a_wish_that_is_gone() {
        let mut crew = crew("a");
        crew.review(NOW, |_| false);
        crew.wish(BTreeMap::new());
        assert_eq!(crew.review(NOW, |_| true), [Deed::End(1)]);
        assert_eq!(crew.review(NOW, |_| false), []);
        assert!(crew.seats.is_empty());
    }
}
