//! Connections to SPI, and what it says when it refuses.

use std::ffi::{CStr, c_int};
use std::fmt;

use pgrx::pg_sys;

use crate::guc::without_jit;

/// A connection to SPI. What is prepared in it and what statements return through it is gone when
/// it ends, also by an error.
pub struct Connection(());

/// SPI refused to work; the text is its name for the reason.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Run `f` connected to SPI, without JIT compilation. Connections nest.
pub fn connected<R>(f: impl FnOnce(&Connection) -> R) -> R {
    without_jit(|| {
        // SAFETY: inside a transaction. An error between ends the connection with it.
        unsafe { pg_sys::SPI_connect() };
        let result = f(&Connection(()));
        // SAFETY: ends the connection made above; answers and what was prepared cannot outlive it.
        unsafe { pg_sys::SPI_finish() };
        result
    })
}

/// What a code of SPI's means.
pub(super) fn refusal(code: c_int) -> Refused {
    // SAFETY: returns a static or thread-local C string for any number.
    let name = unsafe { CStr::from_ptr(pg_sys::SPI_result_code_string(code)) };
    Refused(name.to_string_lossy().into_owned())
}
