//! Messages to the server's log and to the client, in the database's encoding.
//!
//! The macros of pgrx take Rust text for bytes in that encoding, which it need not be.

use std::ffi::CStr;
use std::ptr;

use core::ffi::{c_char, c_int};
use pgrx::pg_sys;
use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::string;

unsafe extern "C-unwind" {
    // As in utils/elog.h since 13; the bindings leave them out.
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Something for the server's log alone.
pub fn log(message: &str) {
    report(PgLogLevel::LOG, message, None);
}

/// Something that is not as it should be.
pub fn warning(message: &str) {
    report(PgLogLevel::WARNING, message, None);
}

/// Something that the client should know, and what to do about it.
pub fn notice(message: &str, hint: &str) {
    report(PgLogLevel::NOTICE, message, Some(hint));
}

#[expect(clippy::as_conversions, reason = "the number behind a C-like enum")]
fn report(level: PgLogLevel, message: &str, hint: Option<&str>) {
    const VERBATIM: &CStr = c"%s";
    let level = level as c_int;
    let message_text = string::to_server(message);
    let hint_text = hint.map(string::to_server);
    let message = message_text.as_ptr();
    let hint = hint_text.as_ref().map_or(ptr::null(), |hint| hint.as_ptr());
    // SAFETY: what ereport() does, below the level of an error; nothing in the section has a
    // destructor, and the strings live until its end. Lack of memory is an error that leaves
    // through the guard.
    unsafe {
        pg_guard_ffi_boundary(|| {
            if errstart(level, ptr::null()) {
                errmsg_internal(VERBATIM.as_ptr(), message);
                if !hint.is_null() {
                    errhint(VERBATIM.as_ptr(), hint);
                }
                // It looks at interrupts, which is for who has something to interrupt. An error
                // sets the counter to zero.
                pg_sys::InterruptHoldoffCount += 1;
                errfinish(c"pgq_ticker_bgw".as_ptr(), 0, c"report".as_ptr());
                pg_sys::InterruptHoldoffCount -= 1;
            }
        });
    }
}
