//! Catalog look-ups by name.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Oid of a table, view, index or sequence; None when there is none of this name.
pub(crate) fn relation_oid(schema: &CStr, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: both names are C strings; a missing schema gives InvalidOid.
    let schema = unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) };
    // SAFETY: as above; nothing is in schema InvalidOid.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Oid of a relation by its name as SQL text would have it (unquoted names are folded); None when there is none.
pub(crate) fn relation_by_text(name: &str) -> Option<pg_sys::Oid> {
    let name = super::text::Text::new(name.as_bytes());
    // SAFETY: to_regclass takes one non-null text; it gives null for a missing relation, which this call form
    // cannot receive, so a raw call is made.
    unsafe { pgrx::direct_function_call(pg_sys::to_regclass, &[Some(name.datum())]) }
}
