//! Waiting inside the archiver. Unsafe: the server's latch.
#![expect(unsafe_code, reason = "the server's latch is reached through its C functions")]

use std::ffi::{c_int, c_long};
use std::os::fd::RawFd;

use pgrx::pg_sys;

/// How long nothing may happen before the interrupts are looked at again, in milliseconds; they set the latch as a rule.
const LIMIT: c_long = 10_000;

/// Waits for a socket. Dropping it sets the latch again if it was reset here: what it announced is the archiver's own business.
pub(crate) struct Waiter {
    socket: RawFd,
    latch: *mut pg_sys::Latch,
    was_set: bool,
}

impl Waiter {
    /// For a socket that stays open as long as this.
    pub(crate) fn new(socket: RawFd) -> Self {
        // SAFETY: this process's own latch, set up before the archiver loads a module, and there until it ends.
        let latch = unsafe { pg_sys::MyLatch };
        Self { socket, latch, was_set: false }
    }

    /// Sleep until there is something to read, or something else has happened. Meanwhile the process answers barriers, which other
    /// sessions wait for (`DROP DATABASE`), and it ends with the postmaster.
    pub(crate) fn wait(&mut self) {
        let events = pg_sys::WL_SOCKET_READABLE
            | pg_sys::WL_LATCH_SET
            | pg_sys::WL_TIMEOUT
            | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: the latch is this process's, and the socket is open.
        let happened = unsafe {
            pg_sys::WaitLatchOrSocket(
                self.latch,
                flags(events),
                self.socket,
                LIMIT,
                pg_sys::PG_WAIT_EXTENSION,
            )
        };
        if happened & flags(pg_sys::WL_LATCH_SET) != 0 {
            self.was_set = true;
            // SAFETY: as above.
            unsafe { pg_sys::ResetLatch(self.latch) };
        }
        pgrx::check_for_interrupts!();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.was_set {
            // SAFETY: as above.
            unsafe { pg_sys::SetLatch(self.latch) };
        }
    }
}

fn flags(events: u32) -> c_int {
    c_int::try_from(events).unwrap_or(0)
}
