//! Connection strings.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::failure::Failure;
use super::libpq::libpq;
use crate::text::Text;

/// What a connection string says, key by key. It may hold a password, and is never shown.
pub struct Options(pub(super) Vec<(CString, CString)>);

impl Options {
    /// Understand a connection string or URI, as the library does.
    pub fn parse(location: Text) -> Result<Self, Failure> {
        let library = libpq().ok_or(Failure::NoLibrary)?;
        let location = c_string(location);
        let mut message = std::ptr::null_mut();
        // SAFETY: a C string; the library allocates message and list, which are given back below.
        let list = unsafe { (library.PQconninfoParse)(location.as_ptr(), &raw mut message) };
        if list.is_null() {
            // SAFETY: of the library, or null, which it takes. It may quote a part of a password.
            unsafe { (library.PQfreemem)(message.cast()) };
            return Err(Failure::BadLocation);
        }
        let mut options = Vec::new();
        // SAFETY: an entry without keyword ends the list; the others' strings are the list's, and
        // are copied. Nothing here raises an error.
        unsafe {
            let mut entry = list;
            while !(*entry).keyword.is_null() {
                if !(*entry).val.is_null() {
                    let (keyword, value) = ((*entry).keyword, (*entry).val);
                    options.push((CStr::from_ptr(keyword).into(), CStr::from_ptr(value).into()));
                }
                entry = entry.add(1);
            }
            (library.PQconninfoFree)(list);
        }
        Ok(Self(options))
    }

    /// True when it says this key, and not nothing.
    pub fn says(&self, key: &str) -> bool {
        self.0.iter().any(|(name, value)| name.to_bytes() == key.as_bytes() && !value.is_empty())
    }

    /// The first key that is none of these.
    pub fn beyond(&self, keys: &[&str]) -> Option<String> {
        let names = self.0.iter().map(|(name, _)| name.to_string_lossy());
        names.into_iter().find(|name| !keys.contains(&name.as_ref())).map(|name| name.into_owned())
    }

    /// Keys and values for the library, and ours after them.
    pub(super) fn with_ours(&self) -> Vec<(&CStr, &CStr)> {
        // SAFETY: a static string of the server's.
        let encoding = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
        let own = [(c"fallback_application_name", c"pgq"), (c"client_encoding", encoding)];
        self.0.iter().map(|(key, value)| (&**key, &**value)).chain(own).collect()
    }
}

/// A text as a C string: no text has zero bytes.
pub(super) fn c_string(text: Text) -> CString {
    text.with_bytes(|bytes| CString::new(bytes).expect("a text has no zero bytes"))
}
