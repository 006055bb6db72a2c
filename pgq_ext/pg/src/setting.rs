//! Settings of the session that change what triggers do.

use pgrx::pg_sys;

/// True when `session_replication_role` is `local`.
pub fn is_local_role() -> bool {
    // SAFETY: a backend-local setting, read on the backend's only thread.
    let role = unsafe { pg_sys::SessionReplicationRole };
    i64::from(role) == i64::from(pg_sys::SESSION_REPLICATION_ROLE_LOCAL)
}

/// `standard_conforming_strings`: a backslash in a plain string literal is just a backslash.
pub fn has_standard_strings() -> bool {
    // SAFETY: a backend-local setting, read on the backend's only thread.
    unsafe { pg_sys::standard_conforming_strings }
}

/// `quote_all_identifiers`.
pub fn quotes_all_identifiers() -> bool {
    // SAFETY: a backend-local setting, read on the backend's only thread.
    unsafe { pg_sys::quote_all_identifiers }
}

/// Bytes in the database's encoding as they may stand in an error message. Messages go through Rust
/// strings, so outside of UTF-8 a character that is not ASCII becomes a question mark.
pub fn for_message(bytes: &[u8]) -> String {
    // SAFETY: reads backend-local state.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    match std::str::from_utf8(bytes) {
        Ok(text) if encoding == pg_sys::pg_enc::PG_UTF8.cast_signed() => text.to_owned(),
        _ => {
            bytes.iter().map(|&byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
        }
    }
}
