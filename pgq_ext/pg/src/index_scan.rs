//! Reading the rows of a table whose indexed bigint column is within a range.

use std::ffi::c_int;
use std::ops::ControlFlow;

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::heap::{check_privilege, has_columns, oids_of};
use super::text::Text;
use super::{constants, ports};

/// A table opened for reading (ACCESS SHARE, until the transaction ends) together with a btree
/// index on a bigint column.
pub struct IndexedTable {
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    slot: *mut pg_sys::TupleTableSlot,
}

/// Where a version of a row is in its table.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    block: pg_sys::BlockNumber,
    offset: pg_sys::OffsetNumber,
}

/// A row of the table, valid until the next one is read.
pub struct ScannedRow {
    slot: *mut pg_sys::TupleTableSlot,
}

impl IndexedTable {
    /// Open the table. None when it does not have exactly these columns, or no usable index on the
    /// one at offset `indexed`, or row security: it has to be read by a query then. Raises 42501
    /// unless the current user may select from it.
    pub fn open(oid: pg_sys::Oid, columns: &[(&str, pg_sys::Oid)], indexed: usize) -> Option<Self> {
        // SAFETY: opens by oid or raises an error.
        let table = unsafe { pg_sys::table_open(oid, constants::lock::ACCESS_SHARE) };
        // SAFETY: opened above; stays open while `this` or this function has it.
        let form = unsafe { &*(*table).rd_rel };
        let is_open_to_all =
            !form.relrowsecurity && u8::try_from(form.relkind) == Ok(pg_sys::RELKIND_RELATION);
        // SAFETY: the table is open.
        let has_shape = unsafe { has_columns((*table).rd_att, columns) };
        let index = (is_open_to_all && has_shape).then(|| find_index(table, indexed)).flatten();
        let Some(index) = index else {
            // SAFETY: opened above.
            unsafe { pg_sys::table_close(table, 0) };
            return None;
        };
        check_privilege(table, oid, ports::SELECT);
        // SAFETY: the table is open; the slot fits its storage.
        let slot = unsafe { pg_sys::table_slot_create(table, std::ptr::null_mut()) };
        Some(Self { table, index, slot })
    }

    /// Call `visit` with every visible row whose indexed value is within `low..=high`, in index
    /// order, until it breaks.
    pub fn scan_range<B>(
        &self,
        low: i64,
        high: i64,
        mut visit: impl FnMut(&ScannedRow) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let at_least = key(constants::flag::AT_LEAST, pg_sys::F_INT8GE, low);
        let at_most = key(constants::flag::AT_MOST, pg_sys::F_INT8LE, high);
        let mut keys = [at_least, at_most];
        let row = ScannedRow { slot: self.slot };
        // SAFETY: both relations are open; the caller's statement keeps the active snapshot.
        let scan = unsafe {
            ports::index_beginscan(self.table, self.index, pg_sys::GetActiveSnapshot(), 2)
        };
        // SAFETY: two keys on the index's first column, as announced.
        unsafe { pg_sys::index_rescan(scan, keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0) };
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut flow = ControlFlow::Continue(());
        // SAFETY: the scan and the slot belong to the same table.
        while flow.is_continue() && unsafe { pg_sys::index_getnext_slot(scan, forward, self.slot) }
        {
            // SAFETY: the slot holds a row of the table; makes all its columns available.
            unsafe { pg_sys::slot_getallattrs(self.slot) };
            flow = visit(&row);
            pgrx::check_for_interrupts!();
        }
        // SAFETY: begun above.
        unsafe { pg_sys::index_endscan(scan) };
        flow
    }

    /// Call `visit` with every row whose indexed value is `value`, also one of a transaction in
    /// progress, which is given beside, until it breaks: the one that has inserted the row, or is
    /// deleting it. What this transaction has inserted is seen as if it were committed.
    pub fn scan_with_uncommitted<B>(
        &self,
        value: i64,
        mut visit: impl FnMut(&ScannedRow, Option<pg_sys::TransactionId>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut keys = [key(constants::flag::EQUAL, pg_sys::F_INT8EQ, value)];
        let row = ScannedRow { slot: self.slot };
        // Each row that the scan gives sets who is at work on it.
        let mut snapshot = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let snapshot = &raw mut snapshot;
        // SAFETY: both relations are open; the snapshot lives until the scan has ended.
        let scan = unsafe { ports::index_beginscan(self.table, self.index, snapshot, 1) };
        // SAFETY: one key on the index's first column, as announced.
        unsafe { pg_sys::index_rescan(scan, keys.as_mut_ptr(), 1, std::ptr::null_mut(), 0) };
        let forward = pg_sys::ScanDirection::ForwardScanDirection;
        let mut flow = ControlFlow::Continue(());
        // SAFETY: the scan and the slot belong to the same table.
        while flow.is_continue() && unsafe { pg_sys::index_getnext_slot(scan, forward, self.slot) }
        {
            // SAFETY: written by the scan on this thread, for the row that it gave last.
            let (inserting, deleting) = unsafe { ((*snapshot).xmin, (*snapshot).xmax) };
            let is_valid = |xid: &pg_sys::TransactionId| *xid != pg_sys::InvalidTransactionId;
            let busy = [inserting, deleting].into_iter().find(is_valid);
            // SAFETY: the slot holds a row of the table; makes all its columns available.
            unsafe { pg_sys::slot_getallattrs(self.slot) };
            flow = visit(&row, busy);
            pgrx::check_for_interrupts!();
        }
        // SAFETY: begun above.
        unsafe { pg_sys::index_endscan(scan) };
        flow
    }

    /// Call `visit` with the row at this place, if the active snapshot sees one there; it need not
    /// be the row that was there before. Raises XX001 for a place beyond the table's end.
    pub fn at<R>(&self, place: Place, visit: impl FnOnce(&ScannedRow) -> R) -> Option<R> {
        let mut tid = pg_sys::ItemPointerData::default();
        pgrx::itemptr::item_pointer_set_all(&mut tid, place.block, place.offset);
        // SAFETY: the table is open, and every access method has the function.
        let fetch = unsafe { (*(*self.table).rd_tableam).tuple_fetch_row_version }
            .expect("table access methods can fetch a row");
        // SAFETY: a backend-local look-up; the caller's statement keeps the snapshot.
        let snapshot = unsafe { pg_sys::GetActiveSnapshot() };
        // SAFETY: an open table, a slot of its own, and a snapshot. A place of nothing gives false.
        // The function is the table's own, not one of pgrx's, which would guard it: an error in it
        // must not jump over our frames.
        let is_seen =
            unsafe { pg_guard_ffi_boundary(|| fetch(self.table, &mut tid, snapshot, self.slot)) };
        if !is_seen {
            return None;
        }
        // SAFETY: the slot holds a row of the table; makes all its columns available.
        unsafe { pg_sys::slot_getallattrs(self.slot) };
        let seen = visit(&ScannedRow { slot: self.slot });
        // SAFETY: the slot is ours; lets go of the row's page.
        unsafe { pg_sys::ExecClearTuple(self.slot) };
        Some(seen)
    }

    /// Number of blocks that the table has now; none goes while it is open.
    pub fn blocks(&self) -> pg_sys::BlockNumber {
        // SAFETY: the table is open.
        unsafe {
            pg_sys::RelationGetNumberOfBlocksInFork(self.table, pg_sys::ForkNumber::MAIN_FORKNUM)
        }
    }

    /// Number of the file that the table is in: another one after TRUNCATE, VACUUM FULL and the
    /// like.
    pub fn file(&self) -> pg_sys::Oid {
        // SAFETY: the table is open.
        unsafe { (*(*self.table).rd_rel).relfilenode }
    }
}

impl Drop for IndexedTable {
    fn drop(&mut self) {
        // While an error unwinds, the resource owner and the memory context clean up.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: all three were opened in `open`, and no scan is active.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_close(self.index, 0);
            pg_sys::table_close(self.table, 0);
        }
    }
}

impl ScannedRow {
    /// Value of a column by offset; None for NULL.
    pub(crate) fn datum(&self, column: usize) -> Option<pg_sys::Datum> {
        // SAFETY: `column` is below the number of columns the caller knows the table to have, and
        // all are available.
        let (value, is_null) =
            unsafe { (*(*self.slot).tts_values.add(column), *(*self.slot).tts_isnull.add(column)) };
        (!is_null).then_some(value)
    }

    /// Where the row is.
    pub fn place(&self) -> Place {
        // SAFETY: the slot holds a row of a table, which has a place.
        let tid = unsafe { (*self.slot).tts_tid };
        let (block, offset) = pgrx::itemptr::item_pointer_get_both(tid);
        Place { block, offset }
    }

    /// A `bigint` column.
    pub fn int8(&self, column: usize) -> Option<i64> {
        self.datum(column).map(|datum| i64::from_ne_bytes(datum.value().to_ne_bytes()))
    }

    /// An `integer` column.
    pub fn int4(&self, column: usize) -> Option<i32> {
        // SAFETY: reading an int4 out of a pass-by-value datum cannot fail.
        self.datum(column).and_then(|datum| unsafe { pgrx::FromDatum::from_datum(datum, false) })
    }

    /// A `text` column. What is fetched of a value that is stored out of line stays until the call
    /// ends.
    pub fn text(&self, column: usize) -> Option<Text> {
        // SAFETY: the row's value is valid until the next one is read, and the borrow of the row
        // ends with the visit that got it; the caller says that it is a text.
        self.datum(column).map(|datum| unsafe { Text::from_datum(datum) })
    }
}

/// True when the current user may select from the relation.
pub fn may_select(oid: pg_sys::Oid) -> bool {
    // SAFETY: looks up the relation's ACL; a relation that is gone raises an error.
    let result = unsafe { pg_sys::pg_class_aclcheck(oid, pg_sys::GetUserId(), ports::SELECT) };
    result == pg_sys::AclResult::ACLCHECK_OK
}

fn key(strategy: c_int, procedure: u32, argument: i64) -> pg_sys::ScanKeyData {
    let mut key = pg_sys::ScanKeyData::default();
    let strategy = pg_sys::StrategyNumber::try_from(strategy).expect("btrees have five");
    // SAFETY: fills `key` for the index's first column; the operator is one on bigint.
    unsafe { pg_sys::ScanKeyInit(&mut key, 1, strategy, procedure.into(), argument.into()) };
    key
}

/// Open a valid btree index, without a predicate, whose first column is the one at this offset.
fn find_index(table: pg_sys::Relation, column: usize) -> Option<pg_sys::Relation> {
    // SAFETY: the table is open; the list is a copy.
    let oids = unsafe { oids_of(pg_sys::RelationGetIndexList(table)) };
    for oid in oids {
        // SAFETY: the table is locked, so its indexes stay; opens by oid or raises an error.
        let index = unsafe { pg_sys::index_open(oid, constants::lock::ACCESS_SHARE) };
        // SAFETY: opened above.
        let (form, facts) = unsafe { (&*(*index).rd_rel, &*(*index).rd_index) };
        // SAFETY: an index has at least one column.
        let first = unsafe { facts.indkey.values.as_slice(1)[0] };
        // SAFETY: as above.
        let is_partial = unsafe { !pg_sys::RelationGetIndexPredicate(index).is_null() };
        // indcheckxmin: the index may lack versions that an older snapshot still sees.
        let is_usable = facts.indisvalid && !facts.indcheckxmin && !is_partial;
        if form.relam == pg_sys::BTREE_AM_OID
            && usize::try_from(first) == Ok(column + 1)
            && is_usable
        {
            return Some(index);
        }
        // SAFETY: opened above and not used any more.
        unsafe { pg_sys::index_close(index, 0) };
    }
    None
}
