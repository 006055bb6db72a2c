//! Waiting inside the archiver, which goes on answering barriers that other sessions wait for
//! (`DROP DATABASE`).

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::process::check_interrupts_in_query;

/// Waits for as long as a limit in all. Dropping it sets the latch again if it was reset here: what
/// it announced is the archiver's business.
pub(crate) struct Waiter {
    /// Never, when the clock does not reach that far.
    end: Option<Instant>,
    was_set: bool,
}

impl Waiter {
    /// One that waits until the limit is over.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { end: Instant::now().checked_add(limit), was_set: false }
    }

    /// Sleep until there is something to read, something else has happened, or at most the given
    /// time; false when the limit is over.
    pub(crate) fn wait(&mut self, socket: Option<&UnixStream>, most: Duration) -> bool {
        let left = self.end.map_or(most, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        let socket = socket.map(AsFd::as_fd);
        self.was_set |= latch::sleep_beside(socket, left.min(most), WaitEvent::shared());
        check_interrupts_in_query();
        true
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // After an error of the server the archiver ends, and starts from the beginning.
        if self.was_set && !std::thread::panicking() {
            latch::wake_self();
        }
    }
}
