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
        Self::of_c(&c_string(location))
    }

    fn of_c(location: &CStr) -> Result<Self, Failure> {
        let library = libpq().ok_or(Failure::NoLibrary)?;
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

    /// The same of a Rust string.
    pub fn of_str(location: &str) -> Result<Self, Failure> {
        Self::of_c(&CString::new(location).map_err(|_| Failure::BadLocation)?)
    }

    /// Those of these keys and values; a later one wins. None of them may have a zero byte.
    pub fn of_pairs(pairs: &[(String, String)]) -> Result<Self, Failure> {
        let text = |text: &String| CString::new(text.as_bytes()).map_err(|_| Failure::BadLocation);
        let pair = |(key, value): &(String, String)| Ok((text(key)?, text(value)?));
        pairs.iter().map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, _)| key.to_string_lossy().into_owned())
    }

    /// The value of a key, which may be a secret: the last that is not empty, as the library takes
    /// it.
    pub fn get(&self, key: &str) -> Option<String> {
        let of_key = |(name, value): &&(CString, CString)| {
            name.to_bytes() == key.as_bytes() && !value.is_empty()
        };
        self.0.iter().rev().find(of_key).map(|(_, value)| value.to_string_lossy().into_owned())
    }

    /// Say this of a key, and nothing else.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let Self(new) = Self::of_pairs(&[(key.to_owned(), value.to_owned())])?;
        self.0.retain(|(name, _)| name.to_bytes() != key.as_bytes());
        self.0.extend(new);
        Ok(())
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
    pub(super) fn with_ours<'o>(
        &'o self,
        application: &'o CStr,
        encoding: &'o CStr,
    ) -> Vec<(&'o CStr, &'o CStr)> {
        let own = [(c"fallback_application_name", application), (c"client_encoding", encoding)];
        self.0.iter().map(|(key, value)| (&**key, &**value)).chain(own).collect()
    }
}

/// What a key of connection strings is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// It may be seen.
    Plain,
    /// Its value is a secret.
    Secret,
    /// It is for who works on the server.
    Debug,
}

impl Key {
    /// The kind of this key; none when the library does not know it.
    pub fn of(name: &str) -> Result<Option<Self>, Failure> {
        let library = libpq().ok_or(Failure::NoLibrary)?;
        // SAFETY: a list of the library's or null, given back below.
        let list = unsafe { (library.PQconndefaults)() };
        if list.is_null() {
            return Err(Failure::BadLocation);
        }
        let mut found = None;
        // SAFETY: as in `Options::parse`.
        unsafe {
            let mut entry = list;
            while !(*entry).keyword.is_null() {
                if CStr::from_ptr((*entry).keyword).to_bytes() == name.as_bytes() {
                    found = Some(match CStr::from_ptr((*entry).dispchar).to_bytes() {
                        b"*" => Self::Secret,
                        // What stands for a password, for programs that show no form.
                        b"D" if name.starts_with("scram_") => Self::Secret,
                        b"D" => Self::Debug,
                        _ => Self::Plain,
                    });
                }
                entry = entry.add(1);
            }
            (library.PQconninfoFree)(list);
        }
        Ok(found)
    }
}

/// The name of the database's encoding.
pub(super) fn own_encoding() -> &'static CStr {
    // SAFETY: a static string of the server's.
    unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) }
}

/// A text as a C string: no text has zero bytes.
pub(super) fn c_string(text: Text) -> CString {
    text.with_bytes(|bytes| CString::new(bytes).expect("a text has no zero bytes"))
}
