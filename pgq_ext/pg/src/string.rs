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
