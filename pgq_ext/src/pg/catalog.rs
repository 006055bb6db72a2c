//! Catalog look-ups by name.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// Oid of a table, view, index or sequence; None when there is none of this name.
pub(crate) fn relation_oid(schema: &CStr, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: both names are C strings; a missing schema gives InvalidOid.
    let schema = unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) };
    // SAFETY: as above; nothing is in schema InvalidOid.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// Schema and name of a relation as they stand in SQL; empty when there is no such relation.
pub(crate) fn quoted_name(relation: pg_sys::Oid) -> String {
    // SAFETY: a missing relation gives InvalidOid and null.
    let (schema, name) = unsafe {
        (
            pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)),
            pg_sys::get_rel_name(relation),
        )
    };
    if schema.is_null() || name.is_null() {
        return String::new();
    }
    // SAFETY: both are C strings, and so is the result, in the current memory context.
    let quoted = unsafe { CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name)) };
    quoted.to_string_lossy().into_owned()
}

/// Schema and name of a relation.
pub(crate) struct QualifiedName {
    schema: CString,
    name: CString,
}

impl QualifiedName {
    /// Take apart a name as PgQ stores it, unquoted: the first dot separates the two. None without one.
    pub(crate) fn split(stored: &str) -> Option<Self> {
        let (schema, name) = stored.split_once('.')?;
        Some(Self { schema: CString::new(schema).ok()?, name: CString::new(name).ok()? })
    }

    /// Oid of the relation; None when there is none of this name.
    pub(crate) fn oid(&self) -> Option<pg_sys::Oid> {
        relation_oid(&self.schema, &self.name)
    }

    /// The name as it stands in SQL.
    pub(crate) fn quoted(&self) -> String {
        // SAFETY: C strings; the result is a C string in the current memory context.
        let quoted = unsafe {
            CStr::from_ptr(pg_sys::quote_qualified_identifier(
                self.schema.as_ptr(),
                self.name.as_ptr(),
            ))
        };
        quoted.to_string_lossy().into_owned()
    }
}
