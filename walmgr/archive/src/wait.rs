//! Waiting inside the archiver, which goes on answering barriers that other sessions wait for
//! (`DROP DATABASE`). Unsafe: the server's latch.
#![expect(unsafe_code, reason = "the server's latch is reached through its C functions")]

use std::ffi::{c_int, c_long};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

/// Waits for as long as a limit in all. Dropping it sets the latch again if it was reset here: what
/// it announced is the archiver's business.
pub(crate) struct Waiter {
    /// Never, when the clock does not reach that far.
    end: Option<Instant>,
    latch: *mut pg_sys::Latch,
    was_set: bool,
}

impl Waiter {
    /// One that waits until the limit is over.
    pub(crate) fn new(limit: Duration) -> Self {
        // SAFETY: this process's own latch, set up before the archiver loads a module, and there
        // until it ends.
        let latch = unsafe { pg_sys::MyLatch };
        Self { end: Instant::now().checked_add(limit), latch, was_set: false }
    }

    /// Sleep until there is something to read, something else has happened, or at most the given
    /// time; false when the limit is over.
    pub(crate) fn wait(&mut self, socket: Option<&UnixStream>, most: Duration) -> bool {
        let left = self.end.map_or(most, |end| end.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return false;
        }
        // Rounded up, or the last millisecond would be waited for in a busy loop.
        let milliseconds = c_long::try_from(left.min(most).as_millis()).unwrap_or(0) + 1;
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        let (events, socket) = match socket {
            Some(socket) => (events | pg_sys::WL_SOCKET_READABLE, socket.as_raw_fd()),
            None => (events, pg_sys::PGINVALID_SOCKET),
        };
        // SAFETY: the latch is this process's, and the socket is open or none.
        let happened = unsafe {
            pg_sys::WaitLatchOrSocket(
                self.latch,
                flags(events),
                socket,
                milliseconds,
                pg_sys::PG_WAIT_EXTENSION,
            )
        };
        if happened & flags(pg_sys::WL_LATCH_SET) != 0 {
            self.was_set = true;
            // SAFETY: as above.
            unsafe { pg_sys::ResetLatch(self.latch) };
        }
        pgrx::check_for_interrupts!();
        true
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // After an error of the server the archiver ends, and starts from the beginning.
        if self.was_set && !std::thread::panicking() {
            // SAFETY: as above.
            unsafe { pg_sys::SetLatch(self.latch) };
        }
    }
}

fn flags(events: u32) -> c_int {
    c_int::try_from(events).unwrap_or(0)
}
