//! A time limit for what this process does: first it is cancelled, as by `statement_timeout`; if
//! that was not heeded, the process ends.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use core::ffi::c_int;
use pgrx::pg_sys;

unsafe extern "C-unwind" {
    // Not in the bindings. They block the signal while they work and raise no errors.
    fn RegisterTimeout(id: c_int, handler: extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, milliseconds: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
}

/// `STATEMENT_TIMEOUT` of PostgreSQL 13 to 18. Its handler is registered by every process that has
/// connected to a database.
const STATEMENT: c_int = 3;
/// Any number from `USER_TIMEOUT` on asks for a timeout of one's own; that is 13 in PostgreSQL 18,
/// and less before.
const OWN: c_int = 15;

/// So long code may go on that has been cancelled, at most.
const GRACE: Duration = Duration::from_secs(10);

thread_local! {
    static LAST: Cell<Option<c_int>> = const { Cell::new(None) };
}
static OVERRUN: AtomicBool = AtomicBool::new(false);

/// Run `body`, which raises no errors, within the limit.
pub(crate) fn within<T>(limit: Option<Duration>, body: impl FnOnce() -> T) -> T {
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else { return body() };
    let last = LAST.get().unwrap_or_else(|| {
        // SAFETY: the handler touches nothing but flags of this process.
        let id = unsafe { RegisterTimeout(OWN, end_process) };
        LAST.set(Some(id));
        id
    });
    // SAFETY: both timeouts are registered.
    unsafe {
        enable_timeout_after(last, milliseconds(limit + limit.min(GRACE)));
        enable_timeout_after(STATEMENT, milliseconds(limit));
    }
    let result = body();
    // SAFETY: as above. The cancellation may have come too late to find anything to cancel.
    unsafe {
        disable_timeout(STATEMENT, false);
        disable_timeout(last, false);
        pg_sys::QueryCancelPending = 0;
    }
    result
}

/// True when the process ends because of a limit.
pub fn has_overrun() -> bool {
    OVERRUN.load(Ordering::Relaxed)
}

// In a signal handler. What the server's own handler of SIGTERM does: no exception block in SQL
// stops that.
extern "C-unwind" fn end_process() {
    OVERRUN.store(true, Ordering::Relaxed);
    // SAFETY: flags of this process, made for signal handlers; MyLatch is set up.
    unsafe {
        pg_sys::ProcDiePending = 1;
        pg_sys::InterruptPending = 1;
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

fn milliseconds(limit: Duration) -> c_int {
    c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX)
}
