//! Sleeping and waking: process latches.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use core::ffi::{CStr, c_int, c_long};
use pgrx::pg_sys;

use super::constants::flag;
use super::ports;

/// A name in `pg_stat_activity`, made once per process.
#[derive(Clone, Copy, Debug)]
pub struct WaitEvent(u32);

impl WaitEvent {
    /// The event of that name.
    pub fn named(name: &'static CStr) -> Self {
        Self(ports::wait_event(name))
    }

    /// The one that all extensions share.
    pub const fn shared() -> Self {
        Self(pg_sys::PG_WAIT_EXTENSION)
    }
}

/// This process's number, by which others can wake it.
pub fn my_number() -> Option<usize> {
    ports::my_number()
}

/// Wake the process with this number. When it has ended, or the number is another's by now, nobody
/// or somebody wakes for nothing.
pub fn wake(number: usize) {
    if number >= ports::max_backends() {
        return;
    }
    // SAFETY: the process array has an entry for every number below `max_backends`, for as long as
    // the server runs. SetLatch raises no error and may be called by any process for any latch.
    unsafe {
        let proc = (*pg_sys::ProcGlobal).allProcs.add(number);
        pg_sys::SetLatch(&raw mut (*proc).procLatch)
    }
}

/// As [`sleep`], and until there is something to read. True when somebody has woken this process.
pub fn sleep_beside(socket: Option<BorrowedFd<'_>>, limit: Duration, event: WaitEvent) -> bool {
    let (events, socket) = match socket {
        Some(socket) => (flag::WAIT | flag::SOCKET_READABLE, socket.as_raw_fd()),
        None => (flag::WAIT, pg_sys::PGINVALID_SOCKET),
    };
    // SAFETY: MyLatch is this process's own and set up before any of our code runs; the socket is
    // open, or none.
    let happened = unsafe {
        let latch = pg_sys::MyLatch;
        pg_sys::WaitLatchOrSocket(latch, events, socket, milliseconds(limit), event.0)
    };
    let is_woken = happened & flag::LATCH_SET != 0;
    if is_woken {
        // SAFETY: as above.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    is_woken
}

/// What of a socket is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interest {
    Read,
    Write,
    Both,
}

impl Interest {
    fn events(self) -> c_int {
        match self {
            Self::Read => flag::SOCKET_READABLE,
            Self::Write => flag::SOCKET_WRITEABLE,
            Self::Both => flag::SOCKET_READABLE | flag::SOCKET_WRITEABLE,
        }
    }
}

/// Sleep until the socket is ready, and act upon interrupts: raises an error, or ends the process,
/// when it is told to.
pub(crate) fn wait_for_socket(socket: pg_sys::pgsocket, interest: Interest, event: WaitEvent) {
    // SAFETY: as in `sleep_beside`.
    unsafe {
        let events = flag::WAIT_FOREVER | interest.events();
        let happened = pg_sys::WaitLatchOrSocket(pg_sys::MyLatch, events, socket, -1, event.0);
        if happened & flag::LATCH_SET != 0 {
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
    }
    pgrx::check_for_interrupts!();
}

/// As [`wait_for_socket`] until the deadline, from which on nothing is ready; true when the socket
/// is. Who woke this process meanwhile wakes it from its next sleep, too.
pub(crate) fn wait_for_socket_until(
    socket: pg_sys::pgsocket,
    interest: Interest,
    deadline: Instant,
    event: WaitEvent,
) -> bool {
    let wanted = interest.events();
    let mut is_woken = false;
    let is_ready = loop {
        pgrx::check_for_interrupts!();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        // SAFETY: as in `sleep_beside`.
        let happened = unsafe {
            let events = flag::WAIT | wanted;
            pg_sys::WaitLatchOrSocket(pg_sys::MyLatch, events, socket, milliseconds(left), event.0)
        };
        if happened & flag::LATCH_SET != 0 {
            is_woken = true;
            // SAFETY: as above.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
        }
        if happened & wanted != 0 {
            break true;
        }
    };
    if is_woken {
        wake_self();
    }
    pgrx::check_for_interrupts!();
    is_ready
}

/// Wake this process at its next sleep.
pub fn wake_self() {
    // SAFETY: as above. SetLatch raises no error.
    unsafe { pg_sys::SetLatch(pg_sys::MyLatch) }
}

/// Sleep until somebody wakes this process or the time is over, and get ready to be woken again.
///
/// Ends the process when the postmaster is gone.
pub fn sleep(limit: Duration, event: WaitEvent) {
    // SAFETY: MyLatch is this process's own and set up before any of our code runs.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, flag::WAIT, milliseconds(limit), event.0);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}

/// As [`sleep`], in a backend that serves a client. True when the client has closed the connection.
pub fn sleep_beside_client(limit: Duration, event: WaitEvent) -> bool {
    let closed = ports::socket_closed_event();
    // SAFETY: MyProcPort is set once, before a client's backend runs anything. The socket is the
    // first member of struct Port (libpq-be.h, PostgreSQL 13 to 18), which the bindings do not
    // spell out.
    let socket = unsafe { pg_sys::MyProcPort.cast::<pg_sys::pgsocket>().as_ref() }.copied();
    let (Some(socket), true) = (socket, closed != 0) else {
        sleep(limit, event);
        return false;
    };
    // SAFETY: as in `sleep`; the socket is the client's, open until the process ends.
    let happened = unsafe {
        let happened = pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            flag::WAIT | closed,
            socket,
            milliseconds(limit),
            event.0,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
        happened
    };
    happened & closed != 0
}

// Rounded up: waking a moment early would mean to loop without sleeping.
fn milliseconds(limit: Duration) -> c_long {
    c_long::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(c_long::MAX).min(3_600_000)
}
