//! A time limit for what this process does: first it is cancelled; if that was not heeded, the
//! process ends.
//!
//! The server's timers go by the clock on the wall. When it is set forward, all are due at once;
//! these look at the clock that nobody sets, and go on for the rest of their time. When it is set
//! back, the server calls no timer before the clock is there again: a limit that runs then is
//! longer by that step, and the next one is right.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use core::ffi::c_int;
use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // Not in the bindings. They block the signal while they work and raise no errors.
    fn RegisterTimeout(id: c_int, handler: extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, milliseconds: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
}

/// Any number from `USER_TIMEOUT` on asks for a timeout of one's own; that is 13 in PostgreSQL 18,
/// and less before.
const OWN: c_int = 15;

/// So long code may go on that has been cancelled, at most.
const GRACE: Duration = Duration::from_secs(10);

/// A timer of this process.
struct Timer {
    /// The server's number for it; 0: not registered yet.
    id: AtomicI32,
    /// When it is due, in milliseconds since [`BEGIN`].
    due: AtomicU64,
}

static BEGIN: OnceLock<Instant> = OnceLock::new();
static CANCEL: Timer = Timer::new();
static END: Timer = Timer::new();
static OVERRUN: AtomicBool = AtomicBool::new(false);

/// Run `body`, which raises no errors, within the limit.
pub(crate) fn within<T>(limit: Option<Duration>, body: impl FnOnce() -> T) -> T {
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else { return body() };
    END.start(limit + limit.min(GRACE), end_process);
    CANCEL.start(limit, cancel);
    let result = body();
    CANCEL.stop();
    END.stop();
    // SAFETY: a flag of this process. The cancellation may have come too late to find anything to
    // cancel.
    unsafe { pg_sys::QueryCancelPending = 0 };
    result
}

/// True when the process ends because of a limit.
pub fn has_overrun() -> bool {
    OVERRUN.load(Ordering::Relaxed)
}

impl Timer {
    const fn new() -> Self {
        Self { id: AtomicI32::new(0), due: AtomicU64::new(0) }
    }

    fn start(&self, limit: Duration, handler: extern "C-unwind" fn()) {
        if self.id.load(Ordering::Relaxed) == 0 {
            // SAFETY: the handlers touch nothing but flags and timers of this process.
            self.id.store(unsafe { RegisterTimeout(OWN, handler) }, Ordering::Relaxed);
        }
        let limit = milliseconds(limit);
        self.due.store(now() + limit, Ordering::Relaxed);
        self.enable(limit);
    }

    fn enable(&self, limit: u64) {
        let limit = c_int::try_from(limit).unwrap_or(c_int::MAX);
        // SAFETY: registered by `start`. Handlers may call it: the server does so after them, for
        // timers that fire again and again.
        unsafe { enable_timeout_after(self.id.load(Ordering::Relaxed), limit) };
    }

    fn stop(&self) {
        // SAFETY: registered by `start`.
        unsafe { disable_timeout(self.id.load(Ordering::Relaxed), false) };
    }

    /// In its handler: true when the time is really over. Else it goes on.
    fn is_over(&self) -> bool {
        let left = self.due.load(Ordering::Relaxed).saturating_sub(now());
        if left > 0 {
            self.enable(left);
        }
        left == 0
    }
}

// In a signal handler. What the server's own handler of a cancellation does.
extern "C-unwind" fn cancel() {
    if CANCEL.is_over() {
        // SAFETY: flags of this process, made for signal handlers; MyLatch is set up.
        unsafe {
            pg_sys::QueryCancelPending = 1;
            pg_sys::InterruptPending = 1;
            pg_sys::SetLatch(pg_sys::MyLatch);
        }
    }
}

// In a signal handler. What the server's own handler of SIGTERM does: no exception block in SQL
// stops that.
extern "C-unwind" fn end_process() {
    if END.is_over() {
        OVERRUN.store(true, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe {
            pg_sys::ProcDiePending = 1;
            pg_sys::InterruptPending = 1;
            pg_sys::SetLatch(pg_sys::MyLatch);
        }
    }
}

/// Milliseconds since the first limit, whatever happens to the clock on the wall.
fn now() -> u64 {
    milliseconds(BEGIN.get_or_init(Instant::now).elapsed())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a limit is an int, and nothing runs for so long")
}
