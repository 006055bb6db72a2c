//! Settings of the server and of this session.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::ports;

/// Refuse settings with this prefix that nobody has defined.
pub(crate) fn reserve_prefix(prefix: &'static CStr) {
    ports::reserve_setting_prefix(prefix);
}

/// Set a setting for the rest of this process, above what the configuration file and the database say.
///
/// Raises an error when the server does not take the value.
pub(crate) fn set(name: &'static CStr, value: &str) {
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

/// True when commits of this session do not wait for their WAL to reach the disk.
pub(crate) fn commits_are_asynchronous() -> bool {
    // SAFETY: a plain variable of this process.
    unsafe { pg_sys::synchronous_commit == 0 }
}
