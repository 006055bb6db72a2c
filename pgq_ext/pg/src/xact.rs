//! The current transaction.

use pgrx::pg_sys;

/// Assign the top-level transaction id if the transaction has none yet; returns it with its epoch.
///
/// Raises 25006 in a read-only transaction and during recovery.
pub fn assign_top_xid() -> i64 {
    // SAFETY: only raises an error; the name is a static C string.
    unsafe { pg_sys::PreventCommandIfReadOnly(c"INSERT".as_ptr()) };
    // SAFETY: inside a transaction, as every SQL-callable function is.
    let xid = unsafe { pg_sys::GetTopFullTransactionId() };
    i64::from_ne_bytes(xid.value.to_ne_bytes())
}

/// True when the transaction has its id.
pub fn has_xid() -> bool {
    // SAFETY: reads backend-local state.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// Start of the transaction, as `now()`: microseconds since 2000-01-01.
pub fn now() -> i64 {
    // SAFETY: reads backend-local state.
    unsafe { pg_sys::GetCurrentTransactionStartTimestamp() }
}

/// Wait for a transaction, or the one that it is a savepoint of, to end. Raises 40P01 if that waits
/// for this one.
pub fn wait_for(xid: pg_sys::TransactionId) {
    // SAFETY: inside a transaction; it takes no memory of ours.
    unsafe {
        pg_sys::XactLockTableWait(
            xid,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            pg_sys::XLTW_Oper::XLTW_None,
        );
    }
}

/// True when all statements of the transaction see what its first one saw: REPEATABLE READ and
/// above.
pub fn has_fixed_snapshot() -> bool {
    // SAFETY: reads backend-local state.
    let level = unsafe { pg_sys::XactIsoLevel };
    u32::try_from(level).is_ok_and(|level| level >= pg_sys::XACT_REPEATABLE_READ)
}

/// True when the transaction began with the statement that the client has sent last.
pub fn is_as_young_as_statement() -> bool {
    // SAFETY: reads backend-local state.
    unsafe {
        pg_sys::GetCurrentTransactionStartTimestamp() == pg_sys::GetCurrentStatementStartTimestamp()
    }
}

/// True when `session_replication_role` is `replica`.
pub fn is_replica_role() -> bool {
    // SAFETY: a backend-local setting, read on the backend's only thread.
    let role = unsafe { pg_sys::SessionReplicationRole };
    i64::from(role) == i64::from(pg_sys::SESSION_REPLICATION_ROLE_REPLICA)
}

/// True when a transaction is in progress in this process.
pub(crate) fn is_open() -> bool {
    // SAFETY: reads backend-local state.
    unsafe { pg_sys::IsTransactionState() }
}

/// How deep the transaction is: 0 none, 1 no subtransaction.
pub(crate) fn level() -> core::ffi::c_int {
    // SAFETY: reads backend-local state.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// A statement begins now: `statement_timestamp()`.
pub(crate) fn begin_statement() {
    // SAFETY: reads the clock.
    unsafe { pg_sys::SetCurrentStatementStartTimestamp() }
}
