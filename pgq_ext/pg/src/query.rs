//! A query under a snapshot of this moment, whatever the transaction's isolation level.
//!
//! pgrx's own SPI functions do not fit: once the transaction has an id they let SPI take the
//! transaction's snapshot, which is the old one under REPEATABLE READ. A read-only SPI query uses
//! the active snapshot.

use std::cell::Cell;
use std::ffi::CStr;

use super::guc::without_jit;
use pgrx::{FromDatum, pg_sys};

use super::text::Text;

/// The first row of a query's result, while the query is open.
pub struct FirstRow {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

impl FirstRow {
    /// Value of a column, counted from 1; None for NULL. By-reference values are copied by their
    /// conversion.
    pub fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        let mut is_null = false;
        // SAFETY: a row of SPI's result and its type, both alive until SPI_finish; a column that is
        // not there is NULL.
        let datum = unsafe { pg_sys::SPI_getbinval(self.tuple, self.desc, column, &mut is_null) };
        // SAFETY: the caller names the column's type, as it names it in the query next to it.
        unsafe { T::from_datum(datum, is_null) }
    }
}

/// A query with one text argument that a session prepares once. PostgreSQL plans it again by itself
/// when an object changes.
pub struct NowQuery {
    sql: &'static CStr,
    plan: Cell<pg_sys::SPIPlanPtr>,
}

impl NowQuery {
    /// Nothing is prepared yet.
    pub const fn new(sql: &'static CStr) -> Self {
        Self { sql, plan: Cell::new(std::ptr::null_mut()) }
    }

    /// Run it under the latest snapshot, and give its first row, if any, to `read`.
    pub fn first_row<R>(&self, argument: Text, read: impl FnOnce(&FirstRow) -> R) -> Option<R> {
        let mut values = [argument.datum()];
        // SAFETY: GetLatestSnapshot gives a static snapshot, which PushActiveSnapshot copies. An
        // error below aborts the (sub)transaction, which pops it and closes SPI.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            pg_sys::SPI_connect();
        }
        let status = without_jit(|| {
            let plan = self.plan();
            // SAFETY: connected; one argument without null flags; read-only, so under the snapshot
            // pushed above.
            unsafe {
                pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), std::ptr::null(), true, 1)
            }
        });
        // SAFETY: SPI's globals describe the query just run.
        let row = unsafe {
            let has_row =
                u32::try_from(status) == Ok(pg_sys::SPI_OK_SELECT) && pg_sys::SPI_processed > 0;
            has_row.then(|| FirstRow {
                tuple: *(*pg_sys::SPI_tuptable).vals,
                desc: (*pg_sys::SPI_tuptable).tupdesc,
            })
        };
        let result = row.map(|row| read(&row));
        // SAFETY: connected and pushed above; nothing of SPI's memory is used any more.
        unsafe {
            pg_sys::SPI_finish();
            pg_sys::PopActiveSnapshot();
        }
        result
    }

    /// The plan, made by the first call. Errors in the query are raised.
    fn plan(&self) -> pg_sys::SPIPlanPtr {
        if self.plan.get().is_null() {
            let mut types = [pg_sys::TEXTOID];
            // SAFETY: connected; a C string and one type. What cannot be kept stays null, which SPI
            // refuses to run.
            unsafe {
                let plan = pg_sys::SPI_prepare(self.sql.as_ptr(), 1, types.as_mut_ptr());
                if !plan.is_null() && pg_sys::SPI_keepplan(plan) == 0 {
                    self.plan.set(plan);
                }
            }
        }
        self.plan.get()
    }
}
