//! Texts at the edge to the server: in its memory bytes in the database's encoding, in this crate
//! Rust strings, see [`pgq_core::encode::opaque`].

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use core::ffi::{c_char, c_int};
use pgq_core::encode::opaque;
use pgrx::pg_sys;

use super::ports;

/// A string of the server's.
pub(crate) fn from_server(text: &CStr) -> String {
    opaque::decode(text.to_bytes()).into_owned()
}

/// A string for the server; up to a zero byte, which no text of its own has.
pub(crate) fn to_server(text: &str) -> CString {
    let mut bytes = opaque::encode(text).into_owned();
    bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
    CString::new(bytes).expect("cut before the first zero byte")
}

/// UTF-8 converted to the database's encoding, which the result is in. Raises an error for what
/// that cannot say, and for a zero byte.
pub(crate) fn converted_to_server(text: &str) -> Cow<'_, [u8]> {
    let start = text.as_ptr().cast::<c_char>();
    // SAFETY: pointer and length describe the text; the result is the text itself, or a C string in
    // the current memory context.
    let converted = unsafe { pg_sys::pg_any_to_server(start, length(text.as_bytes()), UTF8) };
    if converted.cast_const() == start {
        return Cow::Borrowed(text.as_bytes());
    }
    // SAFETY: as above.
    Cow::Owned(unsafe { CStr::from_ptr(converted) }.to_bytes().to_vec())
}

/// The same as a C string.
pub(crate) fn converted_to_c(text: &str) -> CString {
    CString::new(converted_to_server(text)).expect("a zero byte is no text of the server's")
}

/// The other way. Raises an error for what is no text.
pub(crate) fn converted_from_server(bytes: Vec<u8>) -> String {
    let start = bytes.as_ptr().cast::<c_char>();
    // SAFETY: as above.
    let converted = unsafe { pg_sys::pg_server_to_any(start, length(&bytes), UTF8) };
    let bytes = if converted.cast_const() == start {
        bytes
    } else {
        // SAFETY: as above.
        unsafe { CStr::from_ptr(converted) }.to_bytes().to_vec()
    };
    // A database holds what its encoding allows, which is what Rust allows, or nearly.
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8.cast_signed();

/// The bytes of a text, no more than `limit` and not cut within a character of the database's
/// encoding.
pub fn clip(text: &str, limit: usize) -> Vec<u8> {
    let mut bytes = opaque::encode(text).into_owned();
    if bytes.len() > limit {
        let most = c_int::try_from(limit).expect("texts are shorter than 2 GB");
        // SAFETY: reads at most so many bytes; a process without a database has an encoding of
        // single bytes.
        let end =
            unsafe { pg_sys::pg_mbcliplen(bytes.as_ptr().cast::<c_char>(), length(&bytes), most) };
        bytes.truncate(ports::count(end));
    }
    bytes
}

/// A text as it can be shown in this database: what was written down in another one's encoding, or
/// got lost on the way, as question marks.
pub fn presentable(text: &str) -> Cow<'_, str> {
    if is_valid(&opaque::encode(text)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect())
}

/// True when the bytes are a text of this database's encoding.
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    // SAFETY: pointer and length describe the bytes; raises no error.
    unsafe {
        pg_sys::pg_verify_mbstr(
            pg_sys::GetDatabaseEncoding(),
            bytes.as_ptr().cast::<c_char>(),
            length(bytes),
            true,
        )
    }
}

/// True when texts of this database are UTF-8.
pub(crate) fn is_utf8() -> bool {
    // SAFETY: reads backend-local state.
    unsafe { pg_sys::GetDatabaseEncoding() == pg_sys::pg_enc::PG_UTF8.cast_signed() }
}

fn length(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).expect("texts are shorter than 2 GB")
}
