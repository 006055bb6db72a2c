//! Differences between PostgreSQL versions, one function each.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Lock of a reader.
#[expect(clippy::as_conversions, reason = "a small constant")]
pub(super) const ACCESS_SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
/// Lock of a writer.
#[expect(clippy::as_conversions, reason = "a small constant")]
pub(super) const ROW_EXCLUSIVE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// No random access to a sort's result: a flag set since 15, a boolean before.
#[cfg(any(feature = "pg13", feature = "pg14"))]
pub(super) const SORT_OPTIONS: bool = false;
/// No random access to a sort's result: a flag set since 15, a boolean before.
#[cfg(not(any(feature = "pg13", feature = "pg14")))]
pub(super) const SORT_OPTIONS: std::ffi::c_int = 0;

/// Privilege to insert; the type grew to 64 bits in 16.
#[expect(clippy::as_conversions, reason = "widening or identity, by version")]
pub(super) const INSERT: pg_sys::AclMode = pg_sys::ACL_INSERT as pg_sys::AclMode;
/// Privilege to select.
#[expect(clippy::as_conversions, reason = "widening or identity, by version")]
pub(super) const SELECT: pg_sys::AclMode = pg_sys::ACL_SELECT as pg_sys::AclMode;

/// True when the column list has constraints or generated columns that a plain insert would have to
/// evaluate.
///
/// # Safety
///
/// `tupdesc` belongs to an open relation.
pub(super) unsafe fn has_checks_or_generated_columns(tupdesc: pg_sys::TupleDesc) -> bool {
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
        pg_sys::TupleDescAttr(desc, i32::try_from(index).unwrap_or(0))
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
pub(super) unsafe fn index_beginscan(
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
pub(super) unsafe fn begin_row_store(
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

/// Number of a system cache, as the cache functions take it.
pub(super) fn cache_id(cache: pg_sys::SysCacheIdentifier::Type) -> i32 {
    i32::try_from(cache).unwrap_or(-1)
}

/// Raise 42501 unless `user` may use the schema.
pub(super) fn check_schema_usage(schema: pg_sys::Oid, user: pg_sys::Oid, name: &CStr) {
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

/// Raise 42501 unless `user` may call the function.
pub(super) fn check_execute(function: pg_sys::Oid, user: pg_sys::Oid, name: &CStr) {
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

/// C functions as they are, for sections that are guarded as a whole, and those that pgrx does not
/// know.
pub(super) mod raw {
    use std::ffi::c_int;

    use pgrx::pg_sys::{
        BulkInsertState, CommandId, Datum, FullTransactionId, HeapTuple, IndexInfo,
        IndexUniqueCheck, ItemPointer, LOCKMODE, Oid, Relation, SubTransactionId, TimestampTz,
        TupleDesc,
    };

    unsafe extern "C-unwind" {
        pub(in super::super) fn AcceptInvalidationMessages();
        pub(in super::super) fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64;
        pub(in super::super) fn GetTopFullTransactionId() -> FullTransactionId;
        pub(in super::super) fn GetTopFullTransactionIdIfAny() -> FullTransactionId;
        pub(in super::super) fn GetCurrentSubTransactionId() -> SubTransactionId;
        pub(in super::super) fn GetCurrentTransactionStartTimestamp() -> TimestampTz;
        pub(in super::super) fn GetUserId() -> Oid;
        pub(in super::super) fn typeInheritsFrom(subclass: Oid, superclass: Oid) -> bool;
        pub(in super::super) fn GetCurrentCommandId(used: bool) -> CommandId;
        pub(in super::super) fn relation_open(relation: Oid, lock: LOCKMODE) -> Relation;
        pub(in super::super) fn try_relation_open(relation: Oid, lock: LOCKMODE) -> Relation;
        pub(in super::super) fn relation_close(relation: Relation, lock: LOCKMODE);
        pub(in super::super) fn index_open(relation: Oid, lock: LOCKMODE) -> Relation;
        pub(in super::super) fn index_close(relation: Relation, lock: LOCKMODE);
        pub(in super::super) fn heap_form_tuple(
            desc: TupleDesc,
            values: *mut Datum,
            nulls: *mut bool,
        ) -> HeapTuple;
        pub(in super::super) fn heap_insert(
            relation: Relation,
            tuple: HeapTuple,
            command: CommandId,
            options: c_int,
            bulk: BulkInsertState,
        );
        #[cfg(feature = "pg13")]
        fn index_insert(
            index: Relation,
            values: *mut Datum,
            nulls: *mut bool,
            tid: ItemPointer,
            heap: Relation,
            check: IndexUniqueCheck::Type,
            info: *mut IndexInfo,
        ) -> bool;
        #[cfg(not(feature = "pg13"))]
        fn index_insert(
            index: Relation,
            values: *mut Datum,
            nulls: *mut bool,
            tid: ItemPointer,
            heap: Relation,
            check: IndexUniqueCheck::Type,
            unchanged: bool,
            info: *mut IndexInfo,
        ) -> bool;
    }

    /// Insert one entry into a btree index that is not unique.
    ///
    /// # Safety
    ///
    /// `index` is an open, locked, plain btree index of `heap`; `values` and `nulls` have an
    /// element per index column; `tid` is the address of the row in `heap`. An error jumps to the
    /// enclosing guard.
    pub(in super::super) unsafe fn insert_into_btree(
        index: Relation,
        values: *mut Datum,
        nulls: *mut bool,
        tid: ItemPointer,
        heap: Relation,
    ) {
        const NO_CHECK: IndexUniqueCheck::Type = IndexUniqueCheck::UNIQUE_CHECK_NO;
        // This is for access methods that keep state between insertions; btinsert() does not look
        // at it.
        let info = std::ptr::null_mut();
        #[cfg(feature = "pg13")]
        // SAFETY: by this function's contract.
        unsafe {
            index_insert(index, values, nulls, tid, heap, NO_CHECK, info)
        };
        #[cfg(not(feature = "pg13"))]
        // SAFETY: by this function's contract.
        unsafe {
            index_insert(index, values, nulls, tid, heap, NO_CHECK, false, info)
        };
    }
}
