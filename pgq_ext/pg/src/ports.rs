//! Differences between PostgreSQL versions, one function each.

use std::ffi::{CStr, c_int, c_long};

use pgrx::pg_sys;

#[cfg(not(any(feature = "pg13", feature = "pg14")))]
use super::constants;

pub(crate) mod copy;
pub(crate) mod raw;
pub(crate) mod utility;

/// A number of things that PostgreSQL has counted.
#[inline]
pub(crate) fn count<N: TryInto<usize>>(number: N) -> usize {
    number.try_into().ok().expect("PostgreSQL counts upwards from zero, and in memory")
}

/// No random access to a sort's result: a flag set since 15, a boolean before.
#[cfg(any(feature = "pg13", feature = "pg14"))]
pub(crate) const SORT_OPTIONS: bool = false;
/// No random access to a sort's result: a flag set since 15, a boolean before.
#[cfg(not(any(feature = "pg13", feature = "pg14")))]
pub(crate) const SORT_OPTIONS: c_int = 0;

/// Privilege to insert; the type grew to 64 bits in 16.
#[expect(clippy::as_conversions, reason = "widening or identity, by version")]
pub(crate) const INSERT: pg_sys::AclMode = pg_sys::ACL_INSERT as pg_sys::AclMode;
/// Privilege to select.
#[expect(clippy::as_conversions, reason = "widening or identity, by version")]
pub(crate) const SELECT: pg_sys::AclMode = pg_sys::ACL_SELECT as pg_sys::AclMode;

/// True when the column list has constraints or generated columns that a plain insert would have to
/// evaluate.
///
/// # Safety
///
/// `tupdesc` belongs to an open relation.
pub(crate) unsafe fn has_checks_or_generated_columns(tupdesc: pg_sys::TupleDesc) -> bool {
    // SAFETY: valid by this function's contract.
    let constraints = unsafe { (*tupdesc).constr };
    if constraints.is_null() {
        return false;
    }
    // SAFETY: not null, and owned by the descriptor.
    let constraints = unsafe { &*constraints };
    #[cfg(feature = "pg18")]
    let generated = constraints.has_generated_stored || constraints.has_generated_virtual;
    #[cfg(not(feature = "pg18"))]
    let generated = constraints.has_generated_stored;
    constraints.num_check > 0 || generated
}

/// An attribute of a row type, by offset.
///
/// # Safety
///
/// `desc` is a valid descriptor with more than `index` attributes.
pub(crate) unsafe fn attribute(
    desc: pg_sys::TupleDesc,
    index: usize,
) -> *mut pg_sys::FormData_pg_attribute {
    #[cfg(feature = "pg18")]
    // SAFETY: by this function's contract.
    unsafe {
        pg_sys::TupleDescAttr(desc, c_int::try_from(index).expect("a row has at most 1664 columns"))
    }
    #[cfg(not(feature = "pg18"))]
    // SAFETY: by this function's contract.
    unsafe {
        (*desc).attrs.as_mut_ptr().add(index)
    }
}

/// Begin a scan of a heap through an index.
///
/// # Safety
///
/// Both relations are open and locked, and the snapshot stays registered or active during the scan.
pub(crate) unsafe fn index_beginscan(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    #[cfg(feature = "pg18")]
    // SAFETY: by this function's contract; no instrumentation is asked for.
    unsafe {
        pg_sys::index_beginscan(heap, index, snapshot, std::ptr::null_mut(), keys, 0)
    }
    #[cfg(not(feature = "pg18"))]
    // SAFETY: by this function's contract.
    unsafe {
        pg_sys::index_beginscan(heap, index, snapshot, keys, 0)
    }
}

/// Make the function's result a tuple store, filled by the function: (store, row type).
///
/// # Safety
///
/// `fcinfo` is the running call of a function declared `returns setof record` with OUT arguments.
pub(crate) unsafe fn begin_row_store(
    fcinfo: pg_sys::FunctionCallInfo,
) -> (*mut pg_sys::Tuplestorestate, pg_sys::TupleDesc) {
    #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
    {
        // SAFETY: by this function's contract; raises an error where the caller cannot take a set.
        unsafe { pg_sys::InitMaterializedSRF(fcinfo, 0) };
        // SAFETY: InitMaterializedSRF succeeded, so resultinfo is a ReturnSetInfo with both fields
        // set.
        let info = unsafe { &*(*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>() };
        (info.setResult, info.setDesc)
    }
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    #[expect(clippy::as_conversions, reason = "flags of a C enumeration")]
    {
        use pgrx::{PgLogLevel, PgSqlErrorCode};
        // SAFETY: by this function's contract.
        let info = unsafe { (*fcinfo).resultinfo }.cast::<pg_sys::ReturnSetInfo>();
        // SAFETY: not null is checked first; the node tag is the first field of every node.
        let takes_set = !info.is_null()
            && unsafe { (*info).type_ } == pg_sys::NodeTag::T_ReturnSetInfo
            // SAFETY: the tag says that it is one.
            && unsafe { (*info).allowedModes }
                & pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32
                != 0;
        if !takes_set {
            pg_sys::panic::ErrorReport::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "set-valued function called in context that cannot accept a set",
                "pgq",
            )
            .report(PgLogLevel::ERROR);
        }
        // SAFETY: the store and its descriptor must outlive this call: they go into the per-query
        // context.
        unsafe {
            let old = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let mut desc = std::ptr::null_mut();
            pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut desc);
            let desc = pg_sys::BlessTupleDesc(desc);
            let random = (*info).allowedModes
                & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32
                != 0;
            let store = pg_sys::tuplestore_begin_heap(random, false, pg_sys::work_mem);
            (*info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*info).setResult = store;
            (*info).setDesc = desc;
            pg_sys::MemoryContextSwitchTo(old);
            (store, desc)
        }
    }
}

/// Raise 42501 unless `user` may use the schema.
pub(crate) fn check_schema_usage(schema: pg_sys::Oid, user: pg_sys::Oid, name: &CStr) {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: looks a row of pg_namespace up; an error if there is none.
    let result = unsafe { pg_sys::pg_namespace_aclcheck(schema, user, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: as above.
    let result =
        unsafe { pg_sys::object_aclcheck(pg_sys::NamespaceRelationId, schema, user, mode) };
    if result != pg_sys::AclResult::ACLCHECK_OK {
        // SAFETY: raises the error; the name is a C string.
        unsafe { pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_SCHEMA, name.as_ptr()) };
    }
}

/// Raise 42501 unless `user` may use the foreign server.
pub(crate) fn check_server_usage(server: pg_sys::Oid, user: pg_sys::Oid, name: &CStr) {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_USAGE);
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: looks a row of pg_foreign_server up; an error if there is none.
    let result = unsafe { pg_sys::pg_foreign_server_aclcheck(server, user, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: as above.
    let result =
        unsafe { pg_sys::object_aclcheck(pg_sys::ForeignServerRelationId, server, user, mode) };
    if result != pg_sys::AclResult::ACLCHECK_OK {
        let kind = pg_sys::ObjectType::OBJECT_FOREIGN_SERVER;
        // SAFETY: raises the error; the name is a C string.
        unsafe { pg_sys::aclcheck_error(result, kind, name.as_ptr()) };
    }
}

/// Raise 42501 unless `user` may call the function.
pub(crate) fn check_execute(function: pg_sys::Oid, user: pg_sys::Oid, name: &CStr) {
    let mode = pg_sys::AclMode::from(pg_sys::ACL_EXECUTE);
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
    // SAFETY: looks a row of pg_proc up; an error if there is none.
    let result = unsafe { pg_sys::pg_proc_aclcheck(function, user, mode) };
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
    // SAFETY: as above.
    let result =
        unsafe { pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, user, mode) };
    if result != pg_sys::AclResult::ACLCHECK_OK {
        // SAFETY: raises the error; the name is a C string.
        unsafe {
            pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_FUNCTION, name.as_ptr())
        };
    }
}

/// True when this process holds the lock in this mode, by its transaction or its session.
pub(crate) fn holds_lock(tag: &pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: a complete tag; looks it up in this process's own table.
    unsafe {
        pg_sys::LockHeldByMe(tag, mode)
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: as above.
    unsafe {
        pg_sys::LockHeldByMe(tag, mode, false)
    }
}

/// Reserve shared memory at server start. `size` is asked when the server knows how many backends
/// it allows.
pub(crate) fn request_shared_memory(size: fn() -> usize) {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: called from `_PG_init` while the postmaster loads its libraries, where these versions
    // take requests.
    unsafe {
        pg_sys::RequestAddinShmemSpace(size())
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    {
        use std::sync::OnceLock;
        static SIZE: OnceLock<fn() -> usize> = OnceLock::new();
        static PREVIOUS: OnceLock<pg_sys::shmem_request_hook_type> = OnceLock::new();

        #[pgrx::pg_guard]
        unsafe extern "C-unwind" fn request() {
            if let Some(Some(previous)) = PREVIOUS.get() {
                // SAFETY: the hook that was there before ours, called as the server would have.
                unsafe { previous() }
            }
            if let Some(size) = SIZE.get() {
                // SAFETY: this is the hook where requests are due.
                unsafe { pg_sys::RequestAddinShmemSpace(size()) }
            }
        }

        let _ = SIZE.set(size);
        // SAFETY: the postmaster has one thread, and hooks are chained while it loads libraries.
        let previous = unsafe { pg_sys::shmem_request_hook };
        let _ = PREVIOUS.set(previous);
        // SAFETY: as above.
        unsafe { pg_sys::shmem_request_hook = Some(request) }
    }
}

/// How many processes can have a number (see [`my_number`]).
pub(crate) fn max_backends() -> usize {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    unsafe extern "C" {
        // Not in the bindings of all these versions.
        static autovacuum_max_workers: c_int;
        static max_wal_senders: c_int;
    }
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: settings of the postmaster, read after the configuration file. `MaxBackends` itself
    // is computed later than these versions take requests for shared memory; the sum is the
    // server's own (InitializeMaxBackends).
    let backends = unsafe {
        pg_sys::MaxConnections
            + autovacuum_max_workers
            + 1
            + pg_sys::max_worker_processes
            + max_wal_senders
    };
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: computed before the request hook runs, constant from then on.
    let backends = unsafe { pg_sys::MaxBackends };
    count(backends)
}

/// This process's index in the server's process array, if it has one yet.
pub(crate) fn my_number() -> Option<usize> {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: set once per process by InitProcess, and valid until it ends.
    let number = unsafe { pg_sys::MyProc.as_ref() }.map(|proc| proc.pgprocno)?;
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: as above; negative before InitProcess.
    let number = unsafe { pg_sys::MyProcNumber };
    usize::try_from(number).ok()
}

/// What `pg_stat_activity` shows as wait event. Before PostgreSQL 17 extensions share one name.
pub(crate) fn wait_event(name: &'static CStr) -> u32 {
    #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
    {
        let _ = name;
        pg_sys::PG_WAIT_EXTENSION
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: the name is a C string that lives for ever; the server copies it.
    unsafe {
        pg_sys::WaitEventExtensionNew(name.as_ptr())
    }
}

/// Wait events that say that the client has closed its connection; zero where the version has none.
pub(crate) fn socket_closed_event() -> c_int {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    {
        0
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    {
        constants::flag::SOCKET_CLOSED
    }
}

/// Refuse settings `pgq.something` that nobody has defined.
pub(crate) fn reserve_setting_prefix(prefix: &'static CStr) {
    #[cfg(any(feature = "pg13", feature = "pg14"))]
    // SAFETY: a C string that lives for ever.
    unsafe {
        pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr())
    }
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    // SAFETY: as above.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr())
    }
}

/// Install a signal handler of the server's own.
pub(crate) fn set_signal_handler(signal: c_int, handler: unsafe extern "C-unwind" fn(c_int)) {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: both handlers we pass are PostgreSQL's and only touch flags and the latch.
    unsafe {
        pg_sys::pqsignal(signal, Some(handler));
    }
    #[cfg(feature = "pg18")]
    // SAFETY: as above.
    unsafe {
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

/// Hand this process's statistics to the collector, when it is time.
pub(crate) fn report_statistics() {
    // SAFETY: called outside a transaction, as the server's own loops do.
    let _: c_long = {
        #[cfg(any(feature = "pg13", feature = "pg14"))]
        {
            // SAFETY: see above.
            unsafe { pg_sys::pgstat_report_stat(false) };
            0
        }
        #[cfg(not(any(feature = "pg13", feature = "pg14")))]
        // SAFETY: see above.
        unsafe {
            pg_sys::pgstat_report_stat(false)
        }
    };
}
