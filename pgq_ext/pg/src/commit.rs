//! Something to do when the current transaction has committed.

use std::cell::Cell;

use pgrx::pg_guard;
use pgrx::pg_sys;

/// What to do at the end of a transaction. Must not raise an error: the commit is done.
pub trait AtEnd {
    /// The transaction has committed and is visible to snapshots that are taken from now on.
    fn committed(&self);
    /// The transaction was rolled back.
    fn aborted(&self);
    /// The transaction was prepared: whoever finishes it is not this session.
    fn prepared(&self);
}

thread_local! {
    static HANDLER: Cell<Option<&'static dyn AtEnd>> = const { Cell::new(None) };
}

/// Register the one handler of this process; later calls do nothing.
///
/// Forked backends inherit the registration of the postmaster.
pub fn register(handler: &'static dyn AtEnd) {
    if HANDLER.replace(Some(handler)).is_none() {
        // SAFETY: the callback and its (absent) argument live as long as the process; the library
        // is never unloaded.
        unsafe { pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut()) }
    }
}

#[pg_guard]
extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _arg: *mut core::ffi::c_void) {
    let Some(handler) = HANDLER.get() else { return };
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT => handler.committed(),
        pg_sys::XactEvent::XACT_EVENT_ABORT => handler.aborted(),
        pg_sys::XactEvent::XACT_EVENT_PREPARE => handler.prepared(),
        // Parallel workers insert no events; PRE_COMMIT may still fail.
        _ => {}
    }
}
