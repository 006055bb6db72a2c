//! Settings of the server and of this session.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;

use super::{constants, ports};

/// Refuse settings with this prefix that nobody has defined.
pub fn reserve_prefix(prefix: &'static CStr) {
    ports::reserve_setting_prefix(prefix);
}

/// True when this process has a setting of that name which a library has defined: not only a value
/// that waits for one.
pub fn is_defined(name: &'static CStr) -> bool {
    // SAFETY: a C string; a name that nobody knows gives no flags.
    let flags = unsafe { pg_sys::GetConfigOptionFlags(name.as_ptr(), true) };
    // SAFETY: as above; without `restrict_privileged` it raises nothing for a name that may be
    // missing.
    let is_known = !unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) }.is_null();
    is_known && flags & constants::flag::PLACEHOLDER == 0
}

/// Set a setting for the rest of this process, above what the configuration file and the database
/// say.
///
/// Raises an error when the server does not take the value.
pub fn set(name: &'static CStr, value: &str) {
    let Ok(value) = CString::new(value) else { return };
    // SAFETY: both are C strings that live through the call; the server copies them.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        )
    }
}

/// The same until the end of the transaction.
pub fn set_for_transaction(name: &'static CStr, value: &CStr) {
    // SAFETY: both are C strings; inside a transaction, whose end restores the setting.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_LOCAL,
            true,
            0,
            false,
        );
    }
}

/// The highest `synchronous_commit` whose commits wait for no standby: `local`.
pub const LOCAL_COMMIT: c_int = 1;

/// How far commits of this session wait: `synchronous_commit`.
pub fn synchronous_commit() -> c_int {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::synchronous_commit }
}

/// True when commits may wait for a standby: such a wait can be given up, by a timeout for example,
/// and what was committed is then there without one.
pub fn has_synchronous_standbys() -> bool {
    // SAFETY: a C string; without `restrict_privileged` it raises nothing for a name that may be
    // missing, and what it gives is read at once.
    let names =
        unsafe { pg_sys::GetConfigOption(c"synchronous_standby_names".as_ptr(), true, false) };
    // SAFETY: a C string unless it is NULL.
    !names.is_null() && !unsafe { CStr::from_ptr(names) }.is_empty()
}

/// `lock_timeout` of this session, in milliseconds; 0: none.
pub fn lock_timeout() -> c_int {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::LockTimeout }
}

/// The value of `synchronous_commit` that [`synchronous_commit`] gives as this number.
pub fn name_of_synchronous_commit(level: c_int) -> &'static CStr {
    // enum SyncCommitLevel of access/xact.h, the same since 9.6.
    match level {
        0 => c"off",
        1 => c"local",
        2 => c"remote_write",
        4 => c"remote_apply",
        _ => c"on",
    }
}

/// True when the client is told of nothing below notices: it gets no messages of the server's own
/// work, which it could keep waiting by not reading them.
pub fn is_quiet() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::client_min_messages >= constants::level::NOTICE }
}

/// True when commits of this session do not wait for their WAL to reach the disk.
pub fn commits_are_asynchronous() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::synchronous_commit == 0 }
}

/// Run `body` with `jit` off. Our statements read a few rows by index: compiling one takes a
/// hundred times as long as running it, and a cost that is estimated wrongly is enough for the
/// server to do so.
///
/// An error in `body` leaves it to the end of the (sub)transaction to restore the setting.
pub fn without_jit<R>(body: impl FnOnce() -> R) -> R {
    // SAFETY: a plain variable of this process.
    if !unsafe { pg_sys::jit_enabled } {
        return body();
    }
    // SAFETY: a level of settings of our own, as the server makes it for a function with SET; C
    // strings.
    let level = unsafe {
        let level = pg_sys::NewGUCNestLevel();
        pg_sys::set_config_option(
            c"jit".as_ptr(),
            c"off".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
        level
    };
    let result = body();
    // SAFETY: ends the level begun above; those that `body` began have ended.
    unsafe { pg_sys::AtEOXact_GUC(true, level) };
    result
}
