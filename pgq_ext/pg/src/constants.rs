//! Constants of C as the types that C's functions take them as.
#![expect(clippy::as_conversions, reason = "widening, or of a value that was compared")]

use std::ffi::c_int;

/// A constant of C's as the type that functions take it as. The compiler refuses one that does not
/// fit.
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
const fn int(constant: i64) -> c_int {
    assert!(constant >= 0 && constant <= c_int::MAX as i64, "a constant out of range");
    constant as c_int
}

/// The same for a byte.
#[expect(clippy::cast_possible_truncation, reason = "asserted")]
#[expect(clippy::cast_sign_loss, reason = "asserted")]
const fn byte(constant: i64) -> u8 {
    assert!(constant >= 0 && constant <= u8::MAX as i64, "a constant out of range");
    constant as u8
}

/// Modes of locks.
pub(crate) mod lock {
    use pgrx::pg_sys;

    /// None, or none given back.
    pub(crate) const NONE: pg_sys::LOCKMODE = super::int(pg_sys::NoLock as i64);
    /// A reader's.
    pub(crate) const ACCESS_SHARE: pg_sys::LOCKMODE = super::int(pg_sys::AccessShareLock as i64);
    /// A writer's.
    pub(crate) const ROW_EXCLUSIVE: pg_sys::LOCKMODE = super::int(pg_sys::RowExclusiveLock as i64);
    /// One that many can have.
    pub(crate) const SHARE: pg_sys::LOCKMODE = super::int(pg_sys::ShareLock as i64);
    /// One that one can have.
    pub(crate) const EXCLUSIVE: pg_sys::LOCKMODE = super::int(pg_sys::ExclusiveLock as i64);
    /// Lock tables of the server: that of relations and objects.
    pub(crate) const DEFAULT_METHOD: u8 = super::byte(pg_sys::DEFAULT_LOCKMETHOD as i64);
    /// That of advisory locks.
    pub(crate) const USER_METHOD: u8 = super::byte(pg_sys::USER_LOCKMETHOD as i64);
    /// A lock on an object that is no relation.
    pub(crate) const OBJECT: u8 = super::byte(pg_sys::LockTagType::LOCKTAG_OBJECT as i64);
    /// An advisory lock.
    pub(crate) const ADVISORY: u8 = super::byte(pg_sys::LockTagType::LOCKTAG_ADVISORY as i64);
}

/// System caches by their numbers, which change with versions.
pub(crate) mod cache {
    use std::ffi::c_int;

    use pgrx::pg_sys::SysCacheIdentifier as Cache;

    pub(crate) const FUNCTION: c_int = super::int(Cache::PROCOID as i64);
    pub(crate) const FUNCTION_BY_NAME: c_int = super::int(Cache::PROCNAMEARGSNSP as i64);
    pub(crate) const INDEX: c_int = super::int(Cache::INDEXRELID as i64);
    pub(crate) const MEMBERSHIP: c_int = super::int(Cache::AUTHMEMROLEMEM as i64);
    pub(crate) const RELATION: c_int = super::int(Cache::RELOID as i64);
    pub(crate) const ROLE: c_int = super::int(Cache::AUTHOID as i64);
    pub(crate) const SCHEMA: c_int = super::int(Cache::NAMESPACEOID as i64);
    pub(crate) const USER_MAPPING: c_int = super::int(Cache::USERMAPPINGUSERSERVER as i64);
}

/// Levels of messages.
pub(crate) mod level {
    use std::ffi::c_int;

    use pgrx::pg_sys;

    pub(crate) const NOTICE: c_int = super::int(pg_sys::NOTICE as i64);
}

/// Columns of pg_proc.
pub(crate) mod function {
    use std::ffi::c_int;

    use pgrx::pg_sys;

    pub(crate) const SETTINGS: c_int = super::int(pg_sys::Anum_pg_proc_proconfig as i64);
    pub(crate) const SYMBOL: c_int = super::int(pg_sys::Anum_pg_proc_prosrc as i64);
    pub(crate) const LIBRARY: c_int = super::int(pg_sys::Anum_pg_proc_probin as i64);
}

/// Flags and numbers of other kinds.
pub(crate) mod flag {
    use std::ffi::c_int;

    use pgrx::pg_sys;

    pub(crate) const BUFFER_SHARE: c_int = super::int(pg_sys::BUFFER_LOCK_SHARE as i64);
    pub(crate) const PLACEHOLDER: c_int = super::int(pg_sys::GUC_CUSTOM_PLACEHOLDER as i64);
    /// The client has closed the connection.
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    pub(crate) const SOCKET_CLOSED: c_int = super::int(pg_sys::WL_SOCKET_CLOSED as i64);
    pub(crate) const LATCH_SET: c_int = super::int(pg_sys::WL_LATCH_SET as i64);
    pub(crate) const SOCKET_READABLE: c_int = super::int(pg_sys::WL_SOCKET_READABLE as i64);
    pub(crate) const SOCKET_WRITEABLE: c_int = super::int(pg_sys::WL_SOCKET_WRITEABLE as i64);
    /// What every wait here ends by, and those without a limit.
    pub(crate) const WAIT: c_int = WAIT_FOREVER | super::int(pg_sys::WL_TIMEOUT as i64);
    pub(crate) const WAIT_FOREVER: c_int =
        LATCH_SET | super::int(pg_sys::WL_EXIT_ON_PM_DEATH as i64);
    /// A worker that connects to a database.
    pub(crate) const DATABASE_WORKER: c_int = super::int(pg_sys::BGWORKER_SHMEM_ACCESS as i64)
        | super::int(pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION as i64);
    /// `SET ROLE` and the like are refused.
    pub(crate) const LOCAL_USER: c_int = super::int(pg_sys::SECURITY_LOCAL_USERID_CHANGE as i64);
    /// Nothing that outlives the transaction can be made.
    pub(crate) const RESTRICTED: c_int = super::int(pg_sys::SECURITY_RESTRICTED_OPERATION as i64);
    /// Strategies of btree indexes.
    pub(crate) const EQUAL: c_int = super::int(pg_sys::BTEqualStrategyNumber as i64);
    pub(crate) const AT_LEAST: c_int = super::int(pg_sys::BTGreaterEqualStrategyNumber as i64);
    pub(crate) const AT_MOST: c_int = super::int(pg_sys::BTLessEqualStrategyNumber as i64);
}
