//! Foreign servers and user mappings: where connection keys and passwords are kept.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::constants;
use super::piece;
use super::ports;
use super::session::Failure;
use super::snapshot::StatementSnapshot;
use super::string::{converted_from_server, converted_to_c};

/// Options by name, in UTF-8.
pub type Pairs = Vec<(String, String)>;

/// What is said of a foreign server. The mapping's options are secrets, and are never shown.
pub struct FdwOptions {
    /// Name of its foreign-data wrapper.
    pub wrapper: String,
    /// Options of the server.
    pub server: Pairs,
    /// Those of the role's user mapping, else of PUBLIC's; none without one.
    pub mapping: Option<Pairs>,
    /// The mapping is the role's own, and not PUBLIC's.
    pub is_own_mapping: bool,
}

/// [`look_up`] as a statement of the open transaction in pieces.
pub fn options_of(server: &str, role: u32) -> Result<Option<FdwOptions>, Failure> {
    piece::attempt(|| {
        let _snapshot = StatementSnapshot::take();
        look_up(server, role)
    })
}

/// The options of a foreign server for a role; none when there is no such server. Raises 42501
/// where the role may not use it.
pub fn look_up(server: &str, role: u32) -> Option<FdwOptions> {
    let name = converted_to_c(server);
    let role = pg_sys::Oid::from(role);
    // SAFETY: a C string; null when there is none, else a value in the current memory context, here
    // and below.
    let server = unsafe { pg_sys::GetForeignServerByName(name.as_ptr(), true).as_ref() }?;
    ports::check_server_usage(server.serverid, role, &name);
    // SAFETY: a server has its wrapper.
    let wrapper = unsafe { &*pg_sys::GetForeignDataWrapper(server.fdwid) };
    let is_own_mapping = has_mapping(role, server.serverid);
    let is_mapped = is_own_mapping || has_mapping(pg_sys::InvalidOid, server.serverid);
    let mapping = is_mapped.then(|| {
        // SAFETY: there is one; one that is dropped meanwhile raises an error.
        let mapping = unsafe { &*pg_sys::GetUserMapping(role, server.serverid) };
        // SAFETY: its options.
        unsafe { pairs(mapping.options) }
    });
    // SAFETY: a C string of the wrapper's, and the options of the server.
    let (wrapper, server) = unsafe { (text(wrapper.fdwname), pairs(server.options)) };
    Some(FdwOptions { wrapper, server, mapping, is_own_mapping })
}

fn has_mapping(role: pg_sys::Oid, server: pg_sys::Oid) -> bool {
    let (role, server) = (pg_sys::Datum::from(role), pg_sys::Datum::from(server));
    // SAFETY: the keys of this cache are two oids.
    let tuple = unsafe { pg_sys::SearchSysCache2(constants::cache::USER_MAPPING, role, server) };
    if tuple.is_null() {
        return false;
    }
    // SAFETY: found above.
    unsafe { pg_sys::ReleaseSysCache(tuple) };
    true
}

/// # Safety
///
/// The list is one of options.
unsafe fn pairs(list: *mut pg_sys::List) -> Pairs {
    // SAFETY: a list, or null for the empty one.
    let length = unsafe { list.as_ref() }.map_or(0, |list| list.length);
    let pair = |index| {
        // SAFETY: an option of the list has a name, and its value has a text form.
        unsafe {
            let option = pg_sys::list_nth(list, index).cast::<pg_sys::DefElem>();
            (text((*option).defname), text(pg_sys::defGetString(option)))
        }
    };
    (0..length).map(pair).collect()
}

/// # Safety
///
/// A C string.
unsafe fn text(text: *const std::ffi::c_char) -> String {
    // SAFETY: by this function's contract.
    converted_from_server(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}
