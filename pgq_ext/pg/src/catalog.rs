//! Looks into system catalogs. Each needs an open transaction.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::constants;
use super::ports::raw;
use super::string::from_server;

/// Oid of a table, view, index or sequence; None when there is none of this name.
pub fn relation_oid(schema: &CStr, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: both names are C strings; a missing schema gives InvalidOid.
    let schema = unsafe { pg_sys::get_namespace_oid(schema.as_ptr(), true) };
    // SAFETY: as above; nothing is in schema InvalidOid.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// `relkind`; None when there is no such relation.
pub fn relation_kind(relation: pg_sys::Oid) -> Option<u8> {
    relation_facts(relation, |form| u8::from_ne_bytes(form.relkind.to_ne_bytes()))
}

/// The owner; None when there is no such relation.
pub fn relation_owner(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    relation_facts(relation, |form| form.relowner)
}

/// Owner of the schema that a relation is in.
pub fn schema_owner(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let schema = relation_facts(relation, |form| form.relnamespace)?;
    facts(constants::cache::SCHEMA, schema, |form| {
        // SAFETY: a row of pg_namespace.
        unsafe { (*form.cast::<pg_sys::FormData_pg_namespace>()).nspowner }
    })
}

fn relation_facts<R>(
    relation: pg_sys::Oid,
    read: impl FnOnce(&pg_sys::FormData_pg_class) -> R,
) -> Option<R> {
    facts(constants::cache::RELATION, relation, |form| {
        // SAFETY: a row of pg_class.
        read(unsafe { &*form.cast::<pg_sys::FormData_pg_class>() })
    })
}

/// Look at the row with this oid in a system cache whose key is the oid; `read` must not call
/// PostgreSQL.
fn facts<R>(
    cache: c_int,
    oid: pg_sys::Oid,
    read: impl FnOnce(*const std::ffi::c_char) -> R,
) -> Option<R> {
    // SAFETY: the key of these caches is an oid.
    let tuple = unsafe { pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(oid)) };
    if tuple.is_null() {
        return None;
    }
    // SAFETY: pinned until it is released below.
    let result = read(unsafe { pg_sys::GETSTRUCT(tuple) }.cast_const());
    // SAFETY: found above.
    unsafe { pg_sys::ReleaseSysCache(tuple) };
    Some(result)
}

/// Whether a table inherits from another, directly or through others.
pub fn inherits(child: pg_sys::Oid, parent: pg_sys::Oid) -> bool {
    // SAFETY: a missing relation has no row type, and no row type has no parents. Nothing in the
    // section has a destructor.
    unsafe {
        let (child, parent) = (pg_sys::get_rel_type_id(child), pg_sys::get_rel_type_id(parent));
        child != pg_sys::InvalidOid
            && parent != pg_sys::InvalidOid
            && pg_guard_ffi_boundary(|| raw::typeInheritsFrom(child, parent))
    }
}

/// Whether a role is a superuser; false when there is none.
pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: looks the role up.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Schema and name of a relation as they stand in SQL; empty when there is no such relation.
pub fn quoted_name(relation: pg_sys::Oid) -> String {
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
pub struct QualifiedName {
    schema: CString,
    name: CString,
}

impl QualifiedName {
    /// Take apart a name as PgQ stores it, unquoted: the first dot separates the two. None without
    /// one.
    pub fn split(stored: &str) -> Option<Self> {
        Self::split_bytes(stored.as_bytes())
    }

    /// The same for a name in the database's encoding.
    pub fn split_bytes(stored: &[u8]) -> Option<Self> {
        let dot = stored.iter().position(|&byte| byte == b'.')?;
        let (schema, name) = (stored.get(..dot)?, stored.get(dot + 1..)?);
        Some(Self { schema: CString::new(schema).ok()?, name: CString::new(name).ok()? })
    }

    /// Oid of the relation; None when there is none of this name.
    pub fn oid(&self) -> Option<pg_sys::Oid> {
        relation_oid(&self.schema, &self.name)
    }

    /// The same for a relation that the current user reaches by its name. Error: 42501 no right to
    /// use the schema.
    pub fn oid_for_user(&self) -> Option<pg_sys::Oid> {
        // SAFETY: C strings; a missing schema gives InvalidOid, and nothing is in that.
        let oid = unsafe {
            let schema = pg_sys::LookupExplicitNamespace(self.schema.as_ptr(), true);
            pg_sys::get_relname_relid(self.name.as_ptr(), schema)
        };
        (oid != pg_sys::InvalidOid).then_some(oid)
    }

    /// The name as it stands in SQL.
    pub fn quoted(&self) -> String {
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

/// A row of `pg_database`.
#[derive(Clone, Debug)]
pub struct DatabaseRow {
    /// `oid`.
    pub oid: u32,
    /// `datname`.
    pub name: String,
    /// `datallowconn`.
    pub accepts_connections: bool,
    /// `datistemplate`.
    pub is_template: bool,
}

/// All databases. Works without a database of one's own.
pub fn databases() -> Vec<DatabaseRow> {
    let mut found = Vec::new();
    let share = constants::lock::ACCESS_SHARE;
    // SAFETY: a sequential scan of a shared catalog with a catalog snapshot; tuples are looked at
    // before the next is fetched.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, share);
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            let name = CStr::from_ptr(row.datname.data.as_ptr());
            found.push(DatabaseRow {
                oid: row.oid.to_u32(),
                name: from_server(name),
                accepts_connections: row.datallowconn,
                is_template: row.datistemplate,
            });
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, share);
    }
    found
}

/// True when somebody has, or waits behind somebody who has, a lock on the database that a new
/// session would wait for: DROP DATABASE, ALTER DATABASE … RENAME or SET TABLESPACE, CREATE
/// DATABASE … TEMPLATE.
pub fn database_is_claimed(oid: u32) -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: oid,
        locktag_field4: 0,
        locktag_type: constants::lock::OBJECT,
        locktag_lockmethodid: constants::lock::DEFAULT_METHOD,
    };
    // SAFETY: the lock a new session takes (InitPostgres), tried without waiting; released with the
    // transaction.
    let result = unsafe { pg_sys::LockAcquire(&tag, constants::lock::ROW_EXCLUSIVE, false, true) };
    result == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// True when the extension is installed in this database.
pub fn has_extension(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: reads pg_extension with a catalog snapshot.
    unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// Oid of a role, if there is one of that name.
pub fn role(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: reads a syscache.
    let oid = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// Name of this session's database.
pub fn my_database_name() -> String {
    // SAFETY: the name is palloc'd in the transaction's memory and copied at once.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() {
            return String::new();
        }
        from_server(CStr::from_ptr(name))
    }
}
