//! A procedure that leaves its transaction for a while.

use pgrx::pg_sys;

/// How the running procedure was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// `CALL` by the client: there is nobody else whose state a commit could disturb.
    Client,
    /// `CALL` in a procedure or `DO` block that may commit.
    Procedure,
    /// In a transaction block or a function: the transaction is not ours to end.
    Transaction,
}

/// Who called, from the call's context node.
///
/// # Safety
/// `call` is the argument of a function that the server is calling.
pub(crate) unsafe fn caller(call: pg_sys::FunctionCallInfo) -> Caller {
    // SAFETY: the promise above; CALL passes a CallContext, other callers something else or
    // nothing.
    let context = unsafe { (*call).context };
    // SAFETY: as above.
    let is_call =
        !context.is_null() && unsafe { (*context).type_ } == pg_sys::NodeTag::T_CallContext;
    // SAFETY: the node is a CallContext.
    if !is_call || unsafe { (*context.cast::<pg_sys::CallContext>()).atomic } {
        return Caller::Transaction;
    }
    // SAFETY: looks at SPI's stack.
    if unsafe { pg_sys::SPI_inside_nonatomic_context() } {
        Caller::Procedure
    } else {
        Caller::Client
    }
}

/// Commit, do something without a snapshot or lock, and begin again.
///
/// Called by the client, there is no transaction at all while `body` runs. Inside a procedure SPI's
/// rules leave one open, without snapshot and transaction id. `body` must not raise errors nor look
/// at interrupts.
pub fn outside_transaction<T>(caller: Caller, body: impl FnOnce() -> T) -> T {
    match caller {
        Caller::Client => {
            // SAFETY: the memory in use when the procedure was called belongs to the portal and
            // survives commits.
            let context = unsafe { pg_sys::CurrentMemoryContext };
            // SAFETY: the steps of SPI_commit, at the top level, with no SPI connection open: the
            // portal gives up its snapshot, which the server takes anew when it needs one.
            unsafe {
                pg_sys::ForgetPortalSnapshots();
                pg_sys::CommitTransactionCommand();
            }
            let value = body();
            // SAFETY: no transaction is open; then the memory context is put back. `now()` is the
            // statement's start, and the statement may be old: from here on it counts as begun now.
            unsafe {
                pg_sys::SetCurrentStatementStartTimestamp();
                pg_sys::StartTransactionCommand();
                pg_sys::CurrentMemoryContext = context;
            }
            value
        }
        Caller::Procedure => {
            commit_in_procedure();
            let value = body();
            // `now()` of the transaction that was open meanwhile is of before.
            commit_in_procedure();
            value
        }
        Caller::Transaction => body(),
    }
}

fn commit_in_procedure() {
    // SAFETY: SPI's own way to commit inside a procedure; the connection is closed before anything
    // else uses SPI.
    unsafe {
        pg_sys::SPI_connect_ext(SPI_OPT_NONATOMIC);
        pg_sys::SPI_commit();
        pg_sys::SPI_finish();
    }
}

const SPI_OPT_NONATOMIC: core::ffi::c_int = 1;
