//! Utility statements: to hear of `COMMIT PREPARED`, and to run `VACUUM`.

use std::sync::OnceLock;

use core::ffi::c_char;
use pgrx::pg_sys;

use super::string::to_server;

static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();
static ACTION: OnceLock<fn()> = OnceLock::new();

/// Call `action` in every session after its `COMMIT PREPARED`; to be called while preloading.
pub fn after_commit_prepared(action: fn()) {
    if ACTION.set(action).is_err() {
        return;
    }
    // SAFETY: the postmaster has one thread, and hooks are chained while it loads libraries.
    let previous = unsafe { pg_sys::ProcessUtility_hook };
    let _ = PREVIOUS.set(previous);
    // SAFETY: as above.
    unsafe { pg_sys::ProcessUtility_hook = Some(hook) }
}

// Every utility statement of every session passes here, DO and CALL included. So there is no guard,
// which would strip errors of their context and position: they jump over this frame, which has
// nothing to clean up, straight to who catches them. The arguments grew in PostgreSQL 14.
#[cfg(not(feature = "pg13"))]
unsafe extern "C-unwind" fn hook(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the statement is the server's; it may be gone after it was executed. The arguments
    // are passed on unchanged.
    unsafe {
        let is_commit = is_commit_prepared(statement);
        let next = match PREVIOUS.get() {
            Some(Some(previous)) => *previous,
            _ => standard_ProcessUtility,
        };
        next(statement, text, read_only, context, params, environment, receiver, completion);
        if is_commit && let Some(action) = ACTION.get() {
            action();
        }
    }
}

#[cfg(feature = "pg13")]
unsafe extern "C-unwind" fn hook(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the statement is the server's; it may be gone after it was executed. The arguments
    // are passed on unchanged.
    unsafe {
        let is_commit = is_commit_prepared(statement);
        let next = match PREVIOUS.get() {
            Some(Some(previous)) => *previous,
            _ => standard_ProcessUtility,
        };
        next(statement, text, context, params, environment, receiver, completion);
        if is_commit && let Some(action) = ACTION.get() {
            action();
        }
    }
}

// The bindings have this as a wrapper with a guard.
#[cfg(not(feature = "pg13"))]
// SAFETY: declared as in tcop/utility.h of these versions.
unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

#[cfg(feature = "pg13")]
// SAFETY: as above, of version 13.
unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Run a parsed utility statement as if a client had sent it.
///
/// # Safety
/// The statement and the text live through the call; a transaction is open and nothing else is.
unsafe fn run_top_level(statement: *mut pg_sys::PlannedStmt, text: *const c_char) {
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

/// True for COMMIT PREPARED.
///
/// # Safety
/// The statement lives through the call.
unsafe fn is_commit_prepared(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: utility statements come as planned statements around the parsed one.
    unsafe {
        let node = (*statement).utilityStmt;
        !node.is_null()
            && (*node).type_ == pg_sys::NodeTag::T_TransactionStmt
            && (*node.cast::<pg_sys::TransactionStmt>()).kind
                == pg_sys::TransactionStmtKind::TRANS_STMT_COMMIT_PREPARED
    }
}

/// Vacuum a table, given as it would be written in SQL.
///
/// `VACUUM` cannot be run through SPI, as it commits by itself; so it is parsed and executed here
/// the way a client's statement is. To be called with a transaction open and nothing else; leaves
/// one open.
pub fn vacuum(table: &str) {
    let text = to_server(&format!("vacuum {table}"));
    // SAFETY: the parse tree is made in a context of its own that outlives the transactions VACUUM
    // makes, and is deleted afterwards; after an error it stays behind, a few kilobytes, until the
    // process ends. VACUUM keeps its own working memory under PortalContext, which a background
    // worker lacks.
    unsafe {
        let context = pg_sys::AllocSetContextCreateExtended(
            pg_sys::TopMemoryContext,
            c"pgq vacuum".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
        let caller = pg_sys::CurrentMemoryContext;
        let portal = pg_sys::PortalContext;
        pg_sys::CurrentMemoryContext = context;
        pg_sys::PortalContext = context;
        let raw =
            pg_sys::list_nth(pg_sys::pg_parse_query(text.as_ptr()), 0).cast::<pg_sys::RawStmt>();
        let statement =
            pg_sys::palloc0(size_of::<pg_sys::PlannedStmt>()).cast::<pg_sys::PlannedStmt>();
        (*statement).type_ = pg_sys::NodeTag::T_PlannedStmt;
        (*statement).commandType = pg_sys::CmdType::CMD_UTILITY;
        (*statement).canSetTag = true;
        (*statement).utilityStmt = (*raw).stmt;
        (*statement).stmt_location = -1;
        run_top_level(statement, text.as_ptr());
        pg_sys::CurrentMemoryContext = caller;
        pg_sys::PortalContext = portal;
        pg_sys::MemoryContextDelete(context);
    }
}
