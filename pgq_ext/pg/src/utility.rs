//! Utility statements: to hear of `COMMIT PREPARED`, and to run `VACUUM`.

use pgrx::pg_sys;

use super::ports::utility::{self, Watch};
use super::string::to_server;

/// Call `action` in every session after its `COMMIT PREPARED`; to be called once, while preloading.
pub fn after_commit_prepared(action: fn()) {
    utility::install(Watch { concerns: is_commit_prepared, after: action });
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
            c"vacuum".as_ptr(),
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
        utility::run_top_level(statement, text.as_ptr());
        pg_sys::CurrentMemoryContext = caller;
        pg_sys::PortalContext = portal;
        pg_sys::MemoryContextDelete(context);
    }
}
