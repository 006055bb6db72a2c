//! Sequences.

use pgrx::pg_sys;

use super::{constants, heap, ports};

/// Advance a sequence as the current user; the new value. Errors: 42501, 25006, 2200H, as `nextval`
/// has them.
pub fn nextval(sequence: pg_sys::Oid) -> i64 {
    // SAFETY: nextval_oid takes one non-null oid.
    let value =
        unsafe { pgrx::direct_function_call(pg_sys::nextval_oid, &[Some(sequence.into())]) };
    value.expect("nextval gives a value, or raises an error")
}

/// The one row of a sequence, `FormData_pg_sequence_data` of commands/sequence.h.
#[repr(C)]
struct SequenceRow {
    last_value: i64,
    _log_count: i64,
    is_called: bool,
}

/// Last value of a sequence, which is not advanced; None before its first value, or if the relation
/// is no sequence.
///
/// Errors: XX000 no such relation.
pub fn last_value(sequence: pg_sys::Oid) -> Option<i64> {
    read(sequence, false).and_then(|(value, is_called)| is_called.then_some(value))
}

/// `last_value` as `select` shows it; None if the relation is no sequence. Raises 42501 unless the
/// current user may select from it.
pub fn current_value(sequence: pg_sys::Oid) -> Option<i64> {
    read(sequence, true).map(|(value, _)| value)
}

/// `last_value` and `is_called`.
///
/// Unlike `pg_sequence_last_value` it gives its lock back at once: a transaction that looks at a
/// thousand sequences does not hold a thousand locks.
fn read(sequence: pg_sys::Oid, checks_privilege: bool) -> Option<(i64, bool)> {
    // SAFETY: an error leaves through pgrx's guard, and transaction abort closes what is open. The
    // relation stays open and locked while its row is read; a sequence has one row of this layout,
    // which is the first item of its first page.
    unsafe {
        let relation = pg_sys::relation_open(sequence, constants::lock::ACCESS_SHARE);
        let mut value = None;
        if u8::try_from((*(*relation).rd_rel).relkind) == Ok(pg_sys::RELKIND_SEQUENCE) {
            if checks_privilege {
                heap::check_privilege(relation, sequence, ports::SELECT);
            }
            let buffer = pg_sys::ReadBuffer(relation, 0);
            pg_sys::LockBuffer(buffer, constants::flag::BUFFER_SHARE);
            let page = pg_sys::BufferGetPage(buffer);
            let item = pg_sys::PageGetItemId(page, 1);
            let tuple = pg_sys::PageGetItem(page, item).cast::<pg_sys::HeapTupleHeaderData>();
            let row = tuple.byte_add(usize::from((*tuple).t_hoff)).cast::<SequenceRow>();
            value = Some(((*row).last_value, (*row).is_called));
            pg_sys::UnlockReleaseBuffer(buffer);
        }
        pg_sys::relation_close(relation, constants::lock::ACCESS_SHARE);
        value
    }
}
