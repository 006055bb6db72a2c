//! Whose rights the code of a background worker runs with.
//!
//! A worker connects as bootstrap superuser, because that is the only role whose login nothing can
//! forbid. [`become_role`] then makes the session another role's: `session_user` and `current_user`
//! are that role, for everything but what [`as_superuser`] wraps.

use core::ffi::c_int;
use pgrx::pg_sys;

use super::constants::flag;

/// Make the session the role's, as `SET SESSION AUTHORIZATION` would. Inside a transaction, outside
/// of [`enter`] and [`leave`].
pub fn become_role(role: u32) {
    let role = pg_sys::Oid::from(role);
    // SAFETY: a transaction is open, so the role can be looked up, and no local change of the user
    // is in force.
    unsafe {
        pg_sys::SetSessionAuthorization(role, pg_sys::superuser_arg(role));
        pg_sys::SetUserIdAndSecContext(role, 0);
    }
}

/// Inside a transaction: from now on the role cannot be changed by SQL. (It could: who logged in is
/// a superuser.)
pub(crate) fn enter() {
    set_context(flag::LOCAL_USER);
}

/// Right before the commit: what was left for it, deferred triggers or the rows of a cursor, can
/// moreover make nothing that would outlive the transaction.
pub(crate) fn enter_commit() {
    set_context(flag::LOCAL_USER | flag::RESTRICTED);
}

/// After the commit. A rollback does this by itself.
pub(crate) fn leave() {
    set_context(0);
}

fn set_context(context: c_int) {
    // SAFETY: the session's own role, so only the context changes.
    unsafe { pg_sys::SetUserIdAndSecContext(pg_sys::GetSessionUserId(), context) }
}

/// Run something with the rights of the bootstrap superuser that runs nobody's code, or runs it as
/// VACUUM does: as the table's owner, in a security-restricted context. It may begin and end
/// transactions, and must not raise errors.
pub(crate) fn as_superuser<T>(body: impl FnOnce() -> T) -> T {
    let superuser = pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID);
    // SAFETY: no transaction is open that would remember the user.
    unsafe { pg_sys::SetUserIdAndSecContext(superuser, 0) }
    let result = body();
    leave();
    result
}
