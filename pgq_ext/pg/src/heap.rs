//! Plain tables written to directly, without the executor.
//!
//! That is only right for a table on which an INSERT would do nothing but store the row: see
//! [`Plain`].

use std::ffi::c_int;
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::value::Value;
use super::{constants, ports};

/// What an insertion needs to know of a plain table.
#[derive(Clone, Debug)]
pub struct Plain {
    indexes: Vec<PlainIndex>,
}

impl Plain {
    pub(crate) fn indexes(&self) -> &[PlainIndex] {
        &self.indexes
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PlainIndex {
    pub(crate) oid: pg_sys::Oid,
    /// Offsets of the indexed columns in a row.
    columns: Vec<usize>,
}

/// More columns than that, and the index is for the executor. PgQ's own has one.
const MAX_KEYS: usize = 4;

impl PlainIndex {
    /// Values and null flags of the index's columns, out of those of a row.
    pub(crate) fn keys(
        &self,
        datums: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> ([pg_sys::Datum; MAX_KEYS], [bool; MAX_KEYS]) {
        let mut key_datums = [pg_sys::Datum::null(); MAX_KEYS];
        let mut key_nulls = [false; MAX_KEYS];
        for (i, &column) in self.columns.iter().enumerate().take(MAX_KEYS) {
            key_datums[i] = datums[column];
            key_nulls[i] = nulls[column];
        }
        (key_datums, key_nulls)
    }
}

/// A table opened and locked for writing (ROW EXCLUSIVE, until the transaction ends).
pub struct WritableTable {
    relation: pg_sys::Relation,
    oid: pg_sys::Oid,
}

impl WritableTable {
    /// Open and lock it, processing pending invalidations; None when it does not exist (any more).
    pub fn open(oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: opens by oid; a missing relation gives null.
        let relation = unsafe { pg_sys::try_relation_open(oid, constants::lock::ROW_EXCLUSIVE) };
        (!relation.is_null()).then(|| Self { relation, oid })
    }

    /// Take over a relation that is open and locked for writing; None for null.
    ///
    /// # Safety
    ///
    /// `relation` is null, or open, locked, and nobody else closes it.
    pub(crate) unsafe fn from_open(relation: pg_sys::Relation, oid: pg_sys::Oid) -> Option<Self> {
        (!relation.is_null()).then(|| Self { relation, oid })
    }

    /// The open relation.
    pub(crate) fn relation(&self) -> pg_sys::Relation {
        self.relation
    }

    /// Raise 42501 unless the current user may insert into the table.
    pub fn check_insert_privilege(&self) {
        check_privilege(self.relation, self.oid, ports::INSERT);
    }

    /// Find out whether rows can be stored directly: heap storage, exactly the given columns, no
    /// triggers, rules, row security, check constraints or generated columns, no NOT NULL but on
    /// the columns at offsets `never_null`, which the caller gives a value in every row, and only
    /// plain non-unique btree indexes.
    pub fn plain<const N: usize>(
        &self,
        columns: &[(&str, pg_sys::Oid); N],
        never_null: &[usize],
    ) -> Option<Plain> {
        // SAFETY: the relation is open (invariant of the type) and so are the structures it points
        // to.
        let (form, desc) = unsafe { (&*(*self.relation).rd_rel, (*self.relation).rd_att) };
        // SAFETY: as above.
        let has_actions =
            unsafe { !(*self.relation).trigdesc.is_null() || !(*self.relation).rd_rules.is_null() };
        let is_heap = u8::try_from(form.relkind) == Ok(pg_sys::RELKIND_RELATION)
            && form.relam == pg_sys::HEAP_TABLE_AM_OID
            && u8::try_from(form.relpersistence) != Ok(pg_sys::RELPERSISTENCE_TEMP);
        // SAFETY: the descriptor belongs to the open relation.
        let evaluates = unsafe { ports::has_checks_or_generated_columns(desc) };
        // SAFETY: as above.
        let has_shape = unsafe { has_columns(desc, columns) };
        let refuses_null = has_shape
            && (0..N).any(|i| {
                // SAFETY: the descriptor has N attributes.
                !never_null.contains(&i) && unsafe { (*ports::attribute(desc, i)).attnotnull }
            });
        if !is_heap
            || form.relispartition
            || form.relrowsecurity
            || has_actions
            || evaluates
            || !has_shape
            || refuses_null
        {
            return None;
        }
        self.plain_indexes().map(|indexes| Plain { indexes })
    }

    /// Facts of all indexes, or None when one of them is not plain.
    fn plain_indexes(&self) -> Option<Vec<PlainIndex>> {
        // SAFETY: the relation is open; the list is a copy in the current context.
        let list = unsafe { pg_sys::RelationGetIndexList(self.relation) };
        // SAFETY: a list of oids, as RelationGetIndexList makes it; null is the empty list.
        let oids: Vec<pg_sys::Oid> = unsafe { oids_of(list) };
        let mut indexes = Vec::with_capacity(oids.len());
        for oid in oids {
            let index = OpenIndex::open(oid);
            match index.plain_columns()? {
                Some(columns) => indexes.push(PlainIndex { oid, columns }),
                None => continue,
            }
        }
        Some(indexes)
    }

    /// Store many rows, with one WAL record per page rather than per row.
    pub fn insert_many<const N: usize>(
        &self,
        plain: &Plain,
        rows: &mut dyn Iterator<Item = [Value; N]>,
    ) {
        /// Rows handed over at once; COPY uses 1000, and beyond 100 nothing is gained.
        const CHUNK: usize = 128;
        let slots = RowSlots::new(self.relation, CHUNK);
        let indexes: Vec<_> =
            plain.indexes.iter().map(|facts| (OpenIndex::open(facts.oid), facts)).collect();
        let mut chunk: Vec<([pg_sys::Datum; N], [bool; N])> = Vec::with_capacity(CHUNK);
        loop {
            chunk.clear();
            chunk.extend(
                rows.take(CHUNK).map(|row| (row.map(Value::datum), row.map(Value::is_null))),
            );
            if chunk.is_empty() {
                break;
            }
            for (i, (datums, nulls)) in chunk.iter().enumerate() {
                slots.store(i, datums, nulls);
            }
            slots.insert(self.relation, chunk.len());
            for (index, facts) in &indexes {
                for (i, (datums, nulls)) in chunk.iter().enumerate() {
                    index.insert(facts, datums, nulls, slots.tid(i), self.relation);
                }
            }
        }
        slots.free();
    }
}

impl Drop for WritableTable {
    fn drop(&mut self) {
        // While an error unwinds, the transaction's resource owner closes it.
        if !std::thread::panicking() {
            // SAFETY: open until here; the lock stays until the transaction ends.
            unsafe { pg_sys::relation_close(self.relation, 0) };
        }
    }
}

/// Raise 42501 unless the current user has the privilege on the open relation.
pub(crate) fn check_privilege(
    relation: pg_sys::Relation,
    oid: pg_sys::Oid,
    privilege: pg_sys::AclMode,
) {
    // SAFETY: looks up the relation's ACL for the current user.
    let result = unsafe { pg_sys::pg_class_aclcheck(oid, pg_sys::GetUserId(), privilege) };
    if result != pg_sys::AclResult::ACLCHECK_OK {
        // SAFETY: the relation is open, so its name is there.
        let name = unsafe { (*(*relation).rd_rel).relname.data.as_ptr() };
        // SAFETY: raises an error.
        unsafe { pg_sys::aclcheck_error(result, pg_sys::ObjectType::OBJECT_TABLE, name) };
    }
}

/// Compare a row type with a list of names and types.
///
/// # Safety
///
/// `desc` belongs to an open relation.
pub(crate) unsafe fn has_columns(desc: pg_sys::TupleDesc, columns: &[(&str, pg_sys::Oid)]) -> bool {
    // SAFETY: by this function's contract.
    let count = unsafe { (*desc).natts };
    usize::try_from(count) == Ok(columns.len())
        && columns.iter().enumerate().all(|(i, (name, type_oid))| {
            // SAFETY: `i` is below the number of attributes.
            let attribute = unsafe { &*ports::attribute(desc, i) };
            !attribute.attisdropped
                && attribute.atttypid == *type_oid
                && pgrx::name_data_to_str(&attribute.attname) == *name
        })
}

/// The members of a list of oids.
///
/// # Safety
///
/// `list` is null or an OidList.
pub(crate) unsafe fn oids_of(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: not null; a list of `length` cells.
    let length = unsafe { (*list).length };
    let cell = |i| {
        // SAFETY: `i` is below the list's length, and the list holds oids.
        unsafe { (*(*list).elements.add(i)).oid_value }
    };
    (0..ports::count(length)).map(cell).collect()
}

/// An index opened and locked for writing.
struct OpenIndex(pg_sys::Relation);

impl OpenIndex {
    fn open(oid: pg_sys::Oid) -> Self {
        // SAFETY: the table is locked, so its indexes cannot go away; opens by oid or raises an
        // error.
        Self(unsafe { pg_sys::index_open(oid, constants::lock::ROW_EXCLUSIVE) })
    }

    /// Offsets of the index's columns in a row; Some(None) when the index takes no entries yet;
    /// None when an insertion would have to evaluate or check something.
    fn plain_columns(&self) -> Option<Option<Vec<usize>>> {
        // SAFETY: the index is open.
        let (form, index) = unsafe { (&*(*self.0).rd_rel, &*(*self.0).rd_index) };
        // SAFETY: the index is open; both give lists in the current context.
        let computed = unsafe {
            !pg_sys::RelationGetIndexExpressions(self.0).is_null()
                || !pg_sys::RelationGetIndexPredicate(self.0).is_null()
        };
        if form.relam != pg_sys::BTREE_AM_OID
            || index.indisunique
            || index.indisexclusion
            || computed
        {
            return None;
        }
        if !index.indisready {
            return Some(None);
        }
        let count = usize::try_from(index.indnatts).ok().filter(|count| *count <= MAX_KEYS)?;
        // SAFETY: indkey has indnatts members.
        let keys = unsafe { index.indkey.values.as_slice(count) };
        keys.iter()
            .map(|&key| usize::try_from(key).ok()?.checked_sub(1))
            .collect::<Option<Vec<_>>>()
            .map(Some)
    }

    fn insert(
        &self,
        facts: &PlainIndex,
        datums: &[pg_sys::Datum],
        nulls: &[bool],
        tid: pg_sys::ItemPointer,
        heap: pg_sys::Relation,
    ) {
        let (mut keys, mut key_nulls) = facts.keys(datums, nulls);
        // SAFETY: a plain btree index of this heap (`plain_columns`), values of its columns, the
        // row's address.
        unsafe {
            pg_guard_ffi_boundary(|| {
                ports::raw::insert_into_btree(
                    self.0,
                    keys.as_mut_ptr(),
                    key_nulls.as_mut_ptr(),
                    tid,
                    heap,
                )
            })
        };
    }
}

impl Drop for OpenIndex {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: open until here; the lock stays until the transaction ends.
            unsafe { pg_sys::index_close(self.0, 0) };
        }
    }
}

/// Slots that carry rows to heap_multi_insert, and a memory context for what it leaves behind
/// (toasted copies). Freed by [`Self::free`], or with the surrounding memory context after an
/// error.
struct RowSlots {
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    leftovers: pg_sys::MemoryContext,
}

impl RowSlots {
    fn new(relation: pg_sys::Relation, count: usize) -> Self {
        // SAFETY: the relation is open; the slots refer to its row type.
        let make = |_| unsafe {
            pg_sys::MakeSingleTupleTableSlot(
                (*relation).rd_att,
                &raw const pg_sys::TTSOpsBufferHeapTuple,
            )
        };
        // SAFETY: a child of the current context, which goes when that goes.
        let leftovers = unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"rows for heap_multi_insert".as_ptr(),
                0,
                8 * 1024,
                8 * 1024 * 1024,
            )
        };
        Self { slots: (0..count).map(make).collect(), leftovers }
    }

    fn store(&self, i: usize, datums: &[pg_sys::Datum], nulls: &[bool]) {
        let slot = self.slots[i];
        // SAFETY: clears a slot that `new` made.
        unsafe { pg_sys::ExecClearTuple(slot) };
        // SAFETY: the slot has as many values as the row type has columns, and so have the slices
        // (`plain`).
        unsafe {
            ptr::copy_nonoverlapping(datums.as_ptr(), (*slot).tts_values, datums.len());
            ptr::copy_nonoverlapping(nulls.as_ptr(), (*slot).tts_isnull, nulls.len());
        }
        // SAFETY: all values were set; the data they point to lives as long as the call.
        unsafe { pg_sys::ExecStoreVirtualTuple(slot) };
    }

    fn insert(&self, relation: pg_sys::Relation, count: usize) {
        // The C function wants a mutable array; it sets the slots' row addresses.
        let mut slots = self.slots.clone();
        let count = c_int::try_from(count).expect("no more rows than slots");
        // SAFETY: marks the command as one that wrote.
        let command = unsafe { pg_sys::GetCurrentCommandId(true) };
        // SAFETY: the context is alive; an error resets the current context by itself.
        let outer = unsafe { pg_sys::MemoryContextSwitchTo(self.leftovers) };
        // SAFETY: an open, locked heap relation and `count` filled slots of its row type.
        unsafe {
            pg_sys::heap_multi_insert(
                relation,
                slots.as_mut_ptr(),
                count,
                command,
                0,
                ptr::null_mut(),
            )
        };
        // SAFETY: back to where we were; nothing refers to what the insertion left behind.
        unsafe {
            pg_sys::MemoryContextSwitchTo(outer);
            pg_sys::MemoryContextReset(self.leftovers);
        }
    }

    fn tid(&self, i: usize) -> pg_sys::ItemPointer {
        let slot = self.slots[i];
        // SAFETY: a slot that heap_multi_insert has set the address of.
        unsafe { &raw mut (*slot).tts_tid }
    }

    fn free(self) {
        for slot in self.slots {
            // SAFETY: made by `new`, not used any more.
            unsafe { pg_sys::ExecDropSingleTupleTableSlot(slot) };
        }
        // SAFETY: made by `new`, not the current context.
        unsafe { pg_sys::MemoryContextDelete(self.leftovers) };
    }
}
