//! `ProcessUtility` and its hook. Their arguments grew in PostgreSQL 14.

use std::ffi::c_char;
use std::sync::OnceLock;

use pgrx::pg_sys;

/// What is done about utility statements.
#[derive(Clone, Copy)]
pub(crate) struct Watch {
    /// Whether the statement is one of those: asked before it runs.
    ///
    /// # Safety
    /// The statement is a valid one.
    pub(crate) concerns: unsafe fn(*mut pg_sys::PlannedStmt) -> bool,
    /// Done after it has run without an error.
    pub(crate) after: fn(),
}

static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();
static WATCH: OnceLock<Watch> = OnceLock::new();

// The bindings have this as a wrapper with a guard.
// SAFETY: declared as in tcop/utility.h.
unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        #[cfg(not(feature = "pg13"))] read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Watch all utility statements of all sessions; to be called once, while preloading.
pub(crate) fn install(watch: Watch) {
    assert!(WATCH.set(watch).is_ok(), "there is one watch");
    // SAFETY: the postmaster has one thread, and hooks are chained while it loads libraries.
    let previous = unsafe { pg_sys::ProcessUtility_hook };
    let _ = PREVIOUS.set(previous);
    // SAFETY: as above.
    unsafe { pg_sys::ProcessUtility_hook = Some(hook) }
}

// Every utility statement of every session passes here, DO and CALL included. So there is no guard,
// which would strip errors of their context and position: they jump over this frame, which has
// nothing to clean up, straight to who catches them.
unsafe extern "C-unwind" fn hook(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    #[cfg(not(feature = "pg13"))] read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the statement is the server's; it may be gone after it was executed. The arguments
    // are passed on unchanged.
    unsafe {
        let watch = WATCH.get().filter(|watch| (watch.concerns)(statement));
        let next = match PREVIOUS.get() {
            Some(Some(previous)) => *previous,
            _ => standard_ProcessUtility,
        };
        next(
            statement,
            text,
            #[cfg(not(feature = "pg13"))]
            read_only,
            context,
            params,
            environment,
            receiver,
            completion,
        );
        if let Some(watch) = watch {
            (watch.after)();
        }
    }
}

/// Run a parsed utility statement as if a client had sent it.
///
/// # Safety
/// The statement and the text live through the call; a transaction is open and nothing else is.
pub(crate) unsafe fn run_top_level(statement: *mut pg_sys::PlannedStmt, text: *const c_char) {
    // SAFETY: the caller's promise; results go nowhere.
    unsafe {
        pg_sys::ProcessUtility(
            statement,
            text,
            #[cfg(not(feature = "pg13"))]
            false,
            pg_sys::ProcessUtilityContext::PROCESS_UTILITY_TOPLEVEL,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::CreateDestReceiver(pg_sys::CommandDest::DestNone),
            std::ptr::null_mut(),
        )
    }
}
