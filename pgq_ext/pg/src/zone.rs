//! Time zones, as the server knows them.

use std::ffi::CString;

use pgrx::pg_sys;

/// A time zone; the process keeps it.
pub struct Zone(*mut pg_sys::pg_tz);

impl Zone {
    /// The zone of this name; None when there is none.
    pub fn named(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: a C string. What is found stays for the life of the process.
        let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
        (!zone.is_null()).then_some(Self(zone))
    }

    /// How far local time is ahead of UTC, in seconds, at a time in seconds since 1970; None where
    /// there is no such year.
    pub fn ahead(&self, seconds: i64) -> Option<i64> {
        // SAFETY: a zone that stays; the answer is the process's own, and read at once.
        let local = unsafe { pg_sys::pg_localtime(&raw const seconds, self.0) };
        // SAFETY: null, or what the function has filled.
        unsafe { local.as_ref() }.map(|local| local.tm_gmtoff)
    }
}
