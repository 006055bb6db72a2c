//! `COPY … FROM` a callback. Its functions grew an argument in PostgreSQL 14.

use pgrx::pg_sys;

/// A COPY that is running.
#[cfg(feature = "pg13")]
pub(crate) type State = pg_sys::CopyState;
/// A COPY that is running.
#[cfg(not(feature = "pg13"))]
pub(crate) type State = pg_sys::CopyFromState;

/// Begin to copy into a relation what the callback gives.
///
/// # Safety
///
/// The relation is open and locked, and the one entry of the range table of `parse`; the lists are
/// of names and of options, and outlive the copy.
pub(crate) unsafe fn begin(
    parse: *mut pg_sys::ParseState,
    relation: pg_sys::Relation,
    source: pg_sys::copy_data_source_cb,
    columns: *mut pg_sys::List,
    options: *mut pg_sys::List,
) -> State {
    // SAFETY: by this function's contract; no file and no program.
    unsafe {
        pg_sys::BeginCopyFrom(
            parse,
            relation,
            #[cfg(not(feature = "pg13"))]
            std::ptr::null_mut(),
            std::ptr::null(),
            false,
            source,
            columns,
            options,
        )
    }
}
