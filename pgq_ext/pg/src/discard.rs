//! Making a session forget what somebody's code has left in it.

use pgrx::pg_sys;

use super::constants;

unsafe extern "C-unwind" {
    // Not in the bindings. They raise no errors but for lack of memory, and what calls them ends in
    // the worker's guard.
    fn Async_UnlistenAll();
    fn ResetSequenceCaches();
}

/// What `DISCARD ALL` does, except that plans are kept: close cursors, drop prepared statements and
/// temporary tables, give up session locks, stop listening, and put settings back to what
/// [`super::guc::set`] and the configuration say.
///
/// To be called with a transaction open and nothing else.
pub(crate) fn everything() {
    // SAFETY: a transaction is open, no cursor is in use, and plans kept by SPI belong to none of
    // these. Dropping temporary tables wants a snapshot.
    unsafe {
        pg_sys::PortalHashTableDeleteAll();
        pg_sys::ResetAllOptions();
        pg_sys::DropAllPreparedStatements();
        Async_UnlistenAll();
        pg_sys::LockReleaseAll(u16::from(constants::lock::USER_METHOD), true);
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        pg_sys::ResetTempTableNamespace();
        pg_sys::PopActiveSnapshot();
        ResetSequenceCaches();
    }
}
