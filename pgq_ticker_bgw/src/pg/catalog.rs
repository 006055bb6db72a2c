//! Looks into system catalogs. Each needs an open transaction.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::text::from_server;

/// A row of `pg_database`.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseRow {
    pub(crate) oid: u32,
    pub(crate) name: String,
    pub(crate) accepts_connections: bool,
    pub(crate) is_template: bool,
}

/// All databases. Works without a database of one's own.
pub(crate) fn databases() -> Vec<DatabaseRow> {
    let mut found = Vec::new();
    let share = lockmode(pg_sys::AccessShareLock);
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
pub(crate) fn database_is_claimed(oid: u32) -> bool {
    let tag = pg_sys::LOCKTAG {
        locktag_field1: 0,
        locktag_field2: pg_sys::DatabaseRelationId.to_u32(),
        locktag_field3: oid,
        locktag_field4: 0,
        locktag_type: u8::try_from(pg_sys::LockTagType::LOCKTAG_OBJECT).unwrap_or(0),
        locktag_lockmethodid: 1, // DEFAULT_LOCKMETHOD
    };
    // SAFETY: the lock a new session takes (InitPostgres), tried without waiting; released with the
    // transaction.
    let result =
        unsafe { pg_sys::LockAcquire(&tag, lockmode(pg_sys::RowExclusiveLock), false, true) };
    result == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}

/// True when the extension is installed in this database.
pub(crate) fn has_extension(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    // SAFETY: reads pg_extension with a catalog snapshot.
    unsafe { pg_sys::get_extension_oid(name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// Oid of a role, if there is one of that name.
pub(crate) fn role(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: reads a syscache.
    let oid = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (oid != pg_sys::InvalidOid).then(|| oid.to_u32())
}

/// Name of this session's database.
pub(crate) fn my_database_name() -> String {
    // SAFETY: the name is palloc'd in the transaction's memory and copied at once.
    unsafe {
        let name = pg_sys::get_database_name(pg_sys::MyDatabaseId);
        if name.is_null() {
            return String::new();
        }
        from_server(CStr::from_ptr(name))
    }
}

fn lockmode(mode: u32) -> pg_sys::LOCKMODE {
    pg_sys::LOCKMODE::try_from(mode).unwrap_or(0)
}
