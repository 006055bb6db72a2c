//! The interface of archive modules: `postmaster/pgarch.h` in PostgreSQL 15,
//! `archive/archive_module.h` since 16. Unsafe: the functions that the server calls.
#![expect(unsafe_code, reason = "functions and data that C code of the server reaches")]

use std::ffi::{CStr, c_char};

use pgrx::pg_guard;

/// What the server wants to know of a module.
#[cfg(feature = "pg15")]
#[repr(C)]
pub(crate) struct ArchiveModuleCallbacks {
    check_configured: Option<extern "C-unwind" fn() -> bool>,
    archive_file: Option<unsafe extern "C-unwind" fn(*const c_char, *const c_char) -> bool>,
    shutdown: Option<extern "C-unwind" fn()>,
}

/// What the module could keep between calls; it keeps nothing.
#[cfg(not(feature = "pg15"))]
#[repr(C)]
pub(crate) struct ArchiveModuleState {
    private_data: *mut std::ffi::c_void,
}

/// What the server wants to know of a module.
#[cfg(not(feature = "pg15"))]
#[repr(C)]
pub(crate) struct ArchiveModuleCallbacks {
    startup: Option<extern "C-unwind" fn(*mut ArchiveModuleState)>,
    check_configured: Option<extern "C-unwind" fn(*mut ArchiveModuleState) -> bool>,
    archive_file: Option<
        unsafe extern "C-unwind" fn(*mut ArchiveModuleState, *const c_char, *const c_char) -> bool,
    >,
    shutdown: Option<extern "C-unwind" fn(*mut ArchiveModuleState)>,
}

/// Called by the archiver, with callbacks to be filled in.
///
/// # Safety
/// The pointer is to such a structure, all zero.
#[cfg(feature = "pg15")]
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _PG_archive_module_init(callbacks: *mut ArchiveModuleCallbacks) {
    let own = ArchiveModuleCallbacks {
        check_configured: Some(check_configured),
        archive_file: Some(archive_file),
        shutdown: None,
    };
    // SAFETY: the caller's promise.
    unsafe { callbacks.write(own) };
}

/// Called by the archiver, which wants the callbacks.
#[cfg(not(feature = "pg15"))]
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn _PG_archive_module_init() -> *const ArchiveModuleCallbacks {
    static CALLBACKS: ArchiveModuleCallbacks = ArchiveModuleCallbacks {
        startup: None,
        check_configured: Some(check_configured),
        archive_file: Some(archive_file),
        shutdown: None,
    };
    &raw const CALLBACKS
}

#[cfg(feature = "pg15")]
#[pg_guard]
extern "C-unwind" fn check_configured() -> bool {
    crate::config().is_some()
}

#[cfg(not(feature = "pg15"))]
#[pg_guard]
extern "C-unwind" fn check_configured(_state: *mut ArchiveModuleState) -> bool {
    crate::config().is_some()
}

#[cfg(feature = "pg15")]
#[pg_guard]
unsafe extern "C-unwind" fn archive_file(file: *const c_char, path: *const c_char) -> bool {
    // SAFETY: the server's strings, which stay until this returns.
    unsafe { archive(file, path) }
}

#[cfg(not(feature = "pg15"))]
#[pg_guard]
unsafe extern "C-unwind" fn archive_file(
    _state: *mut ArchiveModuleState,
    file: *const c_char,
    path: *const c_char,
) -> bool {
    // SAFETY: the server's strings, which stay until this returns.
    unsafe { archive(file, path) }
}

/// # Safety
/// Both are strings with their end.
unsafe fn archive(file: *const c_char, path: *const c_char) -> bool {
    // SAFETY: the caller's promise.
    let file = unsafe { CStr::from_ptr(file) };
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    match (file.to_str(), path.to_str()) {
        (Ok(file), Ok(path)) => crate::archive(file, path),
        // The server's own names are ASCII.
        _ => false,
    }
}
