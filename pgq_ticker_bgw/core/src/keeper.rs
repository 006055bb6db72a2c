//! Which database gets a worker, and when: what the launcher decides.
//!
//! Times are durations since the launcher began.

use std::time::Duration;

use crate::backoff::{self, Backoff};
use crate::state::State;

/// Workers that may be on their way up at the same time, so that a server with many databases is
/// not flooded.
pub const STARTING_AT_ONCE: usize = 2;
/// How soon to look again whether a database that a worker has stepped aside from is free.
pub const CLAIMED_PAUSE: Duration = Duration::from_millis(200);
/// How soon to try again when the server had no process for the worker.
pub const NO_PROCESS_PAUSE: Duration = Duration::from_secs(1);
/// How soon to look after a start of which nothing is heard. The postmaster wakes the launcher when
/// the process begins or ends; this is for the case that it cannot.
pub const START_PAUSE: Duration = Duration::from_secs(1);
/// A start that a former launcher has asked for and nobody heard of again, in microseconds.
pub const LOST_START: i64 = 30_000_000;

/// What is known of a database.
#[derive(Clone, Debug)]
pub struct Candidate {
    has_extension: Option<bool>,
    /// Announced while a worker was there: if that one finds no extension, it may have looked too
    /// early.
    look_again: bool,
    not_before: Duration,
    backoff: Backoff,
    started: Duration,
    /// `pgq.max_workers` was in the way, and that was logged.
    told_full: bool,
}

/// What to do about a worker that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Leave,
    /// Take its slot back.
    Close,
    /// Take its slot back, since there is none for this database; say so, if it was not said.
    CloseFull {
        /// It was not said yet.
        tell: bool,
    },
    /// Count a restart, and have it start when its time comes.
    Restart,
    /// Only its state changes.
    Become(State),
}

/// Whether to start a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Now.
    Now,
    /// Look again then.
    At(Duration),
    /// Not before something happens.
    No,
}

/// Which kind of slot a database gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seat {
    /// One of those that `pgq.max_workers` counts.
    Regular,
    /// The one for looking into a database while all others are in use.
    Spare,
}

impl Candidate {
    /// A database that is seen for the first time. It is looked into at once.
    pub fn new(now: Duration) -> Self {
        Self {
            has_extension: None,
            look_again: false,
            not_before: now,
            backoff: Backoff::default(),
            started: now,
            told_full: false,
        }
    }

    /// Whether it has the extension; none: nobody has looked.
    pub fn has_extension(&self) -> Option<bool> {
        self.has_extension
    }

    /// The database says that it has the extension now, or wants its worker.
    pub fn announced(&mut self, now: Duration) {
        self.look_again = true;
        self.doubt();
        self.not_before = now;
    }

    /// Some database has announced itself, this one perhaps.
    pub fn doubt(&mut self) {
        if self.has_extension != Some(true) {
            self.has_extension = None;
        }
    }

    /// Draw the conclusions from how its worker ended. `is_news`: of this end nothing was seen yet.
    pub fn review(
        &mut self,
        state: State,
        stop_is_asked: bool,
        is_news: bool,
        now: Duration,
    ) -> Verdict {
        match state {
            State::Absent => {
                self.has_extension = if self.look_again { None } else { Some(false) };
                self.look_again = false;
                self.backoff = Backoff::default();
                Verdict::Close
            }
            State::Full => {
                self.has_extension = Some(true);
                let tell = !self.told_full;
                self.told_full = true;
                Verdict::CloseFull { tell }
            }
            State::Failed => {
                let pause = self.backoff.failed_after(now.saturating_sub(self.started));
                self.not_before = now + pause;
                Verdict::Restart
            }
            State::Yielded if is_news => {
                self.not_before = now + CLAIMED_PAUSE;
                Verdict::Leave
            }
            State::Idle if stop_is_asked => Verdict::Become(State::Stopped),
            State::Stopped if !stop_is_asked => Verdict::Become(State::Idle),
            State::Starting | State::Idle | State::Running | State::Yielded | State::Stopped => {
                Verdict::Leave
            }
        }
    }

    /// Whether to start its worker, of which `starting` others are on their way up.
    pub fn start(&self, state: State, has_worker: bool, starting: usize, now: Duration) -> Start {
        match state {
            State::Starting => Start::At(now + START_PAUSE),
            State::Idle | State::Yielded if !has_worker => {
                if now < self.not_before {
                    Start::At(self.not_before)
                } else if starting >= STARTING_AT_ONCE {
                    Start::No
                } else {
                    Start::Now
                }
            }
            _ => Start::No,
        }
    }

    /// Its worker was asked of the postmaster.
    pub fn started(&mut self, now: Duration) {
        self.started = now;
    }

    /// Somebody needs the database without sessions. When to look again.
    pub fn is_claimed(&mut self, now: Duration) -> Duration {
        self.wait(now + CLAIMED_PAUSE)
    }

    /// The launcher could not look at the database. When to look again.
    pub fn is_out_of_sight(&mut self, now: Duration) -> Duration {
        self.wait(now + backoff::LAST)
    }

    /// The server had no process for the worker. When to look again.
    pub fn has_no_process(&mut self, now: Duration) -> Duration {
        self.wait(now + NO_PROCESS_PAUSE)
    }

    fn wait(&mut self, until: Duration) -> Duration {
        self.not_before = until;
        until
    }
}

/// True when a worker that was asked for will not come. `has_ended`: what the postmaster says of
/// its process, if this launcher asked for it; `since` and `now`: microseconds of one clock.
pub fn is_lost(has_ended: Option<bool>, since: i64, now: i64) -> bool {
    has_ended.unwrap_or(since + LOST_START < now)
}

/// Give seats to databases that want one, each with what is known of its having the extension. Who
/// is known to have it comes first; the spare seat is only for looking.
pub fn seat(
    mut wanting: Vec<(u32, Option<bool>)>,
    mut regular: usize,
    mut spare: bool,
) -> Vec<(u32, Seat)> {
    wanting.retain(|&(_, has)| has != Some(false));
    wanting.sort_unstable_by_key(|&(oid, has)| (has.is_none(), oid));
    let mut seated = Vec::new();
    for (oid, has) in wanting {
        if regular > 0 {
            regular -= 1;
            seated.push((oid, Seat::Regular));
        } else if has.is_none() && spare {
            spare = false;
            seated.push((oid, Seat::Spare));
        }
    }
    seated
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn candidate() -> Candidate {
        Candidate::new(NOW)
    }

    #[test]
    fn a_new_database_is_looked_into_at_once() {
        assert_eq!(candidate().start(State::Idle, false, 0, NOW), Start::Now);
    }

    #[test]
    fn a_database_without_the_extension_is_left_alone_until_it_announces_itself() {
        let mut candidate = candidate();
        assert_eq!(candidate.review(State::Absent, false, true, NOW), Verdict::Close);
        assert_eq!(candidate.has_extension(), Some(false));
        candidate.announced(NOW);
        assert_eq!(candidate.has_extension(), None);
    }

    #[test]
    fn an_announcement_while_the_worker_looks_makes_another_look() {
        let mut candidate = candidate();
        candidate.announced(NOW);
        candidate.review(State::Absent, false, true, NOW);
        assert_eq!(candidate.has_extension(), None);
        candidate.review(State::Absent, false, true, NOW);
        assert_eq!(candidate.has_extension(), Some(false));
    }

    #[test]
    fn more_announcements_than_fit_do_not_unlearn_who_has_the_extension() {
        let mut candidate = candidate();
        candidate.review(State::Full, false, true, NOW);
        candidate.doubt();
        assert_eq!(candidate.has_extension(), Some(true));
    }

    #[test]
    fn that_all_workers_are_in_use_is_told_once() {
        let mut candidate = candidate();
        let tell = |tell| Verdict::CloseFull { tell };
        assert_eq!(candidate.review(State::Full, false, true, NOW), tell(true));
        assert_eq!(candidate.review(State::Full, false, true, NOW), tell(false));
    }

    #[test]
    fn a_worker_that_fails_comes_again_later_and_later() {
        let mut candidate = candidate();
        candidate.started(NOW);
        for pause in [250, 500, 1000] {
            assert_eq!(candidate.review(State::Failed, false, true, NOW), Verdict::Restart);
            let due = NOW + Duration::from_millis(pause);
            assert_eq!(candidate.start(State::Idle, false, 0, NOW), Start::At(due));
            assert_eq!(candidate.start(State::Idle, false, 0, due), Start::Now);
        }
    }

    #[test]
    fn stopped_and_started_follow_the_wish() {
        let mut candidate = candidate();
        let mut review = |state, stop| candidate.review(state, stop, true, NOW);
        assert_eq!(review(State::Idle, true), Verdict::Become(State::Stopped));
        assert_eq!(review(State::Stopped, true), Verdict::Leave);
        assert_eq!(review(State::Stopped, false), Verdict::Become(State::Idle));
        assert_eq!(review(State::Running, true), Verdict::Leave);
    }

    #[test]
    fn who_stepped_aside_waits_once() {
        let mut candidate = candidate();
        candidate.review(State::Yielded, false, true, NOW);
        let due = NOW + CLAIMED_PAUSE;
        candidate.review(State::Yielded, false, false, due);
        assert_eq!(candidate.start(State::Yielded, false, 0, NOW), Start::At(due));
        assert_eq!(candidate.start(State::Yielded, false, 0, due), Start::Now);
    }

    #[test]
    fn only_so_many_start_at_once_and_none_beside_a_worker() {
        let candidate = candidate();
        let start = |state, has, starting| candidate.start(state, has, starting, NOW);
        assert_eq!(start(State::Idle, false, STARTING_AT_ONCE - 1), Start::Now);
        assert_eq!(start(State::Idle, false, STARTING_AT_ONCE), Start::No);
        assert_eq!(start(State::Idle, true, 0), Start::No);
        assert_eq!(start(State::Starting, false, 1), Start::At(NOW + START_PAUSE));
        for state in [State::Running, State::Stopped, State::Absent, State::Full, State::Failed] {
            assert_eq!(start(state, false, 0), Start::No);
        }
    }

    #[test]
    fn a_start_is_lost_when_its_process_ended_or_nobody_heard_of_it_for_long() {
        assert!(is_lost(Some(true), 0, 0));
        assert!(!is_lost(Some(false), 0, LOST_START + 1));
        assert!(is_lost(None, 0, LOST_START + 1));
        assert!(!is_lost(None, 0, LOST_START));
    }

    proptest! {
        #[test]
        fn seats_go_to_those_who_have_the_extension_first_and_the_spare_one_to_a_look(
            known in proptest::collection::vec(proptest::option::of(any::<bool>()), 0..12),
            regular in 0_usize..6,
            spare in any::<bool>(),
        ) {
            let wanting: Vec<(u32, Option<bool>)> = (1_u32..).zip(known).collect();
            let seated = seat(wanting.clone(), regular, spare);
            let has = |oid: u32| wanting.iter().find(|want| want.0 == oid).unwrap().1;
            let count = |seat: Seat| seated.iter().filter(|got| got.1 == seat).count();
            let users = wanting.iter().filter(|want| want.1 == Some(true)).count();
            let looks = wanting.iter().filter(|want| want.1.is_none()).count();
            prop_assert!(seated.iter().all(|got| has(got.0) != Some(false)));
            prop_assert_eq!(count(Seat::Regular), regular.min(users + looks));
            let users_seated = seated.iter().filter(|got| has(got.0) == Some(true)).count();
            prop_assert_eq!(users_seated, users.min(regular));
            let looks_left = looks - looks.min(regular.saturating_sub(users));
            prop_assert_eq!(count(Seat::Spare), usize::from(spare && looks_left > 0));
            prop_assert!(seated.iter().all(|got| got.1 == Seat::Regular || has(got.0).is_none()));
        }
    }
}
