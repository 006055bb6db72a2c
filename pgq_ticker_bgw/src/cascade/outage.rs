//! A series of failures: what is new of it is said, and each pause is longer.

use std::time::Duration;

use pgq_replica::cascade::drive::{Host as _, Local};
use pgq_ticker_core::backoff::Backoff;

use super::errors;
use super::here::Here;
use super::host::Host;
use super::problem::Problem;

/// Longest pause: a hand that has put things right is not kept waiting.
const LONGEST: Duration = Duration::from_secs(10);

/// So many of a series may be somebody else's lock.
const COLLISIONS: u32 = 10;

/// Failures of one worker or copy.
pub(super) struct Outage {
    queue: String,
    backoff: Backoff,
    attempts: u32,
    /// What was said last.
    said: String,
    /// An error is noted in the database, or may be from an earlier process.
    is_noted: bool,
}

impl Outage {
    pub(super) fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            backoff: Backoff::default(),
            attempts: 0,
            said: String::new(),
            is_noted: true,
        }
    }

    /// A step has failed: say so, note it, and pause.
    pub(super) fn failed(
        &mut self,
        host: &mut Host,
        here: &mut Here,
        consumer: Option<&str>,
        problem: &Problem,
    ) {
        self.attempts += 1;
        // A provider that is away is said once, whatever the words are from time to time.
        let words = match problem.is_outage() {
            true => "outage".to_owned(),
            false => problem.to_string(),
        };
        if self.said != words {
            host.warn(problem);
            self.said = words;
        }
        if let Some(consumer) = consumer {
            errors::note(here, &self.queue, consumer, problem);
            self.is_noted = true;
        }
        // What cannot be put right now fails the next step as well.
        let _ = here.tidy();
        // Somebody else's lock is gone in a moment, and so is what was in the way of ours.
        let is_collision = self.attempts <= COLLISIONS
            && matches!(problem, Problem::Here(here) if ["40001", "40P01"].contains(&here.sqlstate.as_str()));
        let pause = if is_collision {
            Duration::from_millis(50)
        } else {
            self.backoff.failed_after(Duration::ZERO).min(LONGEST)
        };
        let until = host.now() + pause;
        while host.now() < until {
            host.pause(until.saturating_sub(host.now()));
        }
    }

    /// It works.
    pub(super) fn over(&mut self, here: &mut Here, consumer: Option<&str>) {
        if self.attempts > 0 {
            let times = if self.attempts == 1 { "attempt" } else { "attempts" };
            pgq_pg::report::log(&format!(
                "londiste: {} works again after {} failed {times}",
                consumer.unwrap_or(&self.queue),
                self.attempts
            ));
            (self.attempts, self.backoff) = (0, Backoff::default());
            self.said.clear();
        }
        if self.is_noted
            && let Some(consumer) = consumer
        {
            self.is_noted = errors::forget(here, &self.queue, consumer).is_err();
        }
    }
}
