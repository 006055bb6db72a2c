//! C functions as they are, for sections that are guarded as a whole, and those that pgrx does
//! not know.

use std::ffi::c_int;

use pgrx::pg_sys::{
    BulkInsertState, CommandId, Datum, FullTransactionId, HeapTuple, IndexInfo, IndexUniqueCheck,
    ItemPointer, LOCKMODE, Oid, Relation, SubTransactionId, TimestampTz, TupleDesc,
};

unsafe extern "C-unwind" {
    pub(crate) fn AcceptInvalidationMessages();
    pub(crate) fn nextval_internal(sequence: Oid, check_permissions: bool) -> i64;
    pub(crate) fn GetTopFullTransactionId() -> FullTransactionId;
    pub(crate) fn GetTopFullTransactionIdIfAny() -> FullTransactionId;
    pub(crate) fn GetCurrentSubTransactionId() -> SubTransactionId;
    pub(crate) fn GetCurrentTransactionStartTimestamp() -> TimestampTz;
    pub(crate) fn GetUserId() -> Oid;
    pub(crate) fn typeInheritsFrom(subclass: Oid, superclass: Oid) -> bool;
    pub(crate) fn GetCurrentCommandId(used: bool) -> CommandId;
    pub(crate) fn relation_open(relation: Oid, lock: LOCKMODE) -> Relation;
    pub(crate) fn try_relation_open(relation: Oid, lock: LOCKMODE) -> Relation;
    pub(crate) fn relation_close(relation: Relation, lock: LOCKMODE);
    pub(crate) fn index_open(relation: Oid, lock: LOCKMODE) -> Relation;
    pub(crate) fn index_close(relation: Relation, lock: LOCKMODE);
    pub(crate) fn heap_form_tuple(
        desc: TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    ) -> HeapTuple;
    pub(crate) fn heap_insert(
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
pub(crate) unsafe fn insert_into_btree(
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
