//! The two calls into PostgreSQL that storing one row takes.
//!
//! Each is one guarded section over several C functions. pgrx guards every function by itself,
//! which costs more than some of these functions do. The price: nothing inside a section may have a
//! destructor, since an error jumps out of it.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr;

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use super::constants;
use super::heap::{Plain, WritableTable};
use super::ports::raw;
use super::value::Value;
use super::watch;

/// Where a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The table.
    pub table: pg_sys::Oid,
    /// The sequence of its ids.
    pub sequence: pg_sys::Oid,
    /// [`watch::generation`] when both were looked up; both are watched.
    pub generation: u64,
}

/// Proof that the current user may insert into a table and advance its sequence, and that table and
/// indexes are locked: good within one subtransaction, since the next one may have been preceded by
/// a rollback that released the locks, and until something about the two or about roles changes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Held {
    xid: u64,
    subtransaction: u32,
    target: Target,
    user: pg_sys::Oid,
    roles: u64,
}

thread_local! {
    static HELD: Cell<Option<Held>> = const { Cell::new(None) };
}

/// A table opened by [`begin`].
pub struct Begun {
    /// Next value of the sequence.
    pub next_value: i64,
    /// The top-level transaction id, with its epoch.
    pub xid: i64,
    /// Start of the transaction, as `now()`: microseconds since 2000-01-01.
    pub now: i64,
    /// The table; None when it does not exist.
    pub table: Option<LockedTable>,
}

/// A table to store one row in.
pub struct LockedTable {
    table: WritableTable,
    held: Held,
}

/// Advance the sequence, assign the top-level transaction id, and open and lock the table, in this
/// order.
///
/// Errors are those of `nextval`: 42501, 25006 in a read-only transaction and on a standby, 2200H.
///
/// What other sessions have changed is heard of before rights are taken for granted, and again once
/// the transaction has its id: a lock that the transaction has already tells it nothing.
pub fn begin(target: Target) -> Begun {
    watch::register();
    let known = HELD.get();
    // SAFETY: nothing in the section has a destructor; the functions get oids and are called inside
    // a transaction.
    let (next_value, now, held, relation) = unsafe {
        pg_guard_ffi_boundary(|| {
            raw::AcceptInvalidationMessages();
            let mut held = Held {
                xid: raw::GetTopFullTransactionIdIfAny().value,
                subtransaction: raw::GetCurrentSubTransactionId(),
                target,
                user: raw::GetUserId(),
                roles: watch::of_roles(),
            };
            let is_proven = known == Some(held) && target.generation == watch::generation();
            let next_value = raw::nextval_internal(target.sequence, !is_proven);
            let relation = if is_proven {
                raw::relation_open(target.table, 0)
            } else {
                held.xid = raw::GetTopFullTransactionId().value;
                raw::AcceptInvalidationMessages();
                raw::try_relation_open(target.table, constants::lock::ROW_EXCLUSIVE)
            };
            (next_value, raw::GetCurrentTransactionStartTimestamp(), held, relation)
        })
    };
    // SAFETY: opened and locked above, or null.
    let table = unsafe { WritableTable::from_open(relation, target.table) };
    Begun {
        next_value,
        xid: i64::from_ne_bytes(held.xid.to_ne_bytes()),
        now,
        table: table.map(|table| LockedTable { table, held }),
    }
}

impl LockedTable {
    /// Store one row and its index entries, and close the table. Raises 42501 unless the current
    /// user may insert.
    ///
    /// `values` has a value for each column that `plain` was made for.
    pub fn insert<const N: usize>(self, plain: &Plain, values: &[Value; N]) {
        let Self { table, held } = self;
        let is_proven = HELD.get() == Some(held)
            && held.roles == watch::of_roles()
            && held.target.generation == watch::generation();
        if !is_proven {
            table.check_insert_privilege();
        }
        let mut datums = values.map(Value::datum);
        let mut nulls = values.map(Value::is_null);
        let relation = ManuallyDrop::new(table).relation();
        let index_lock =
            if is_proven { constants::lock::NONE } else { constants::lock::ROW_EXCLUSIVE };
        // SAFETY: nothing in the section has a destructor. The relation is open, locked, and plain,
        // so a row is stored by heap_insert and index entries alone; the values fit its columns
        // (`Plain`).
        unsafe {
            pg_guard_ffi_boundary(|| {
                let tuple = raw::heap_form_tuple(
                    (*relation).rd_att,
                    datums.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                );
                let command = raw::GetCurrentCommandId(true);
                raw::heap_insert(relation, tuple, command, 0, ptr::null_mut());
                for facts in plain.indexes() {
                    let index = raw::index_open(facts.oid, index_lock);
                    let (mut keys, mut key_nulls) = facts.keys(&datums, &nulls);
                    let tid = &raw mut (*tuple).t_self;
                    raw::insert_into_btree(
                        index,
                        keys.as_mut_ptr(),
                        key_nulls.as_mut_ptr(),
                        tid,
                        relation,
                    );
                    raw::index_close(index, 0);
                }
                // The tuple goes with the memory context of the call.
                raw::relation_close(relation, 0);
            });
        }
        HELD.set(Some(held));
    }
}

/// Open and lock the table again, when it turned out to be another one than [`begin`] was told.
///
/// The sequence is not looked at, so nothing is proven for the next row.
pub fn open(target: Target) -> Option<LockedTable> {
    let opened = WritableTable::open(target.table)?;
    // SAFETY: reads backend-local state inside a transaction that has its id.
    let held = unsafe {
        Held {
            xid: pg_sys::GetTopFullTransactionId().value,
            subtransaction: pg_sys::GetCurrentSubTransactionId(),
            target: Target { sequence: pg_sys::InvalidOid, ..target },
            user: pg_sys::GetUserId(),
            roles: watch::of_roles(),
        }
    };
    Some(LockedTable { table: opened, held })
}
