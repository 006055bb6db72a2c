//! Sequences.

use pgrx::pg_sys;

/// Advance a sequence as the current user; the new value. Errors: 42501, 25006, 2200H, as `nextval` has them.
pub(crate) fn nextval(sequence: pg_sys::Oid) -> i64 {
    // SAFETY: nextval_oid takes one non-null oid.
    let value =
        unsafe { pgrx::direct_function_call(pg_sys::nextval_oid, &[Some(sequence.into())]) };
    value.unwrap_or_default()
}
