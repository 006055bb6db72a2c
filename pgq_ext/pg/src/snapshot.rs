//! The active snapshot.

use pgrx::pg_sys;

/// A snapshot as the next statement of the transaction would have it, active during the value's
/// life: one of this moment, or the transaction's under REPEATABLE READ.
///
/// For functions that SQL calls, and that read under what other functions in the same statement
/// have found out: the statement's own snapshot is older than theirs.
pub struct StatementSnapshot(());

impl StatementSnapshot {
    /// Take it.
    pub fn take() -> Self {
        // SAFETY: inside a transaction. PushActiveSnapshot copies the snapshot; an error below pops
        // it with the transaction.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Self(())
    }
}

impl Drop for StatementSnapshot {
    fn drop(&mut self) {
        // While an error unwinds, the end of the (sub)transaction pops it.
        if !std::thread::panicking() {
            // SAFETY: pushed by `take`; what was pushed later has been popped, as these values
            // nest.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}
