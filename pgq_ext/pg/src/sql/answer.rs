//! What statements return.

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;

use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::connection::{Connection, Refused, refusal};
use crate::ports;

/// What a statement returned.
pub struct Answer<'c> {
    code: c_int,
    table: *mut pg_sys::SPITupleTable,
    rows: usize,
    processed: u64,
    connection: PhantomData<&'c Connection>,
}

/// A row of an [`Answer`].
#[derive(Clone, Copy)]
pub struct Record<'a> {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    answer: PhantomData<&'a ()>,
}

impl<'c> Answer<'c> {
    /// What the statement that has just run returned, with SPI's code for it.
    pub(super) fn take(_connection: &'c Connection, code: c_int) -> Self {
        // SAFETY: backend-local variables that the statement has just set.
        let (table, processed) = unsafe { (pg_sys::SPI_tuptable, pg_sys::SPI_processed) };
        // A statement without result has processed rows, too.
        let rows = if table.is_null() { 0 } else { processed };
        Self { code, table, rows: ports::count(rows), processed, connection: PhantomData }
    }

    /// Refuse what is not the result of a SELECT, with SPI's name for what it is.
    pub fn of_select(self) -> Result<Self, Refused> {
        match u32::try_from(self.code) == Ok(pg_sys::SPI_OK_SELECT) {
            true => Ok(self),
            false => Err(refusal(self.code)),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many rows the statement has read or written.
    pub fn processed(&self) -> u64 {
        self.processed
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        if self.table.is_null() {
            return 0;
        }
        // SAFETY: the result table, which lives as long as the connection.
        let columns = unsafe { (*(*self.table).tupdesc).natts };
        ports::count(columns)
    }

    /// Type of the first column; InvalidOid when there is none.
    pub fn first_type(&self) -> pg_sys::Oid {
        if self.columns() == 0 {
            return pg_sys::InvalidOid;
        }
        // SAFETY: there is a first column.
        unsafe { pg_sys::SPI_gettypeid((*self.table).tupdesc, 1) }
    }

    /// The rows.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.rows).map(|row| {
            // SAFETY: the table has that many rows, and lives as long as the connection.
            let (tuple, desc) = unsafe { (*(*self.table).vals.add(row), (*self.table).tupdesc) };
            Record { tuple, desc, answer: PhantomData }
        })
    }
}

impl Record<'_> {
    /// Value of a column, counted from 1; None for NULL. What is passed by reference is copied.
    ///
    /// The column has a type that `T` stands for; the statement next to the call says so.
    pub fn get<T: FromDatum + IntoDatum>(&self, column: usize) -> Option<T> {
        let number = number(column);
        // SAFETY: the row's type; a column that is not there gives InvalidOid.
        let type_oid = unsafe { pg_sys::SPI_gettypeid(self.desc, number) };
        assert!(T::is_compatible_with(type_oid), "column {column} has type {type_oid}");
        let (value, is_null) = self.binary(column);
        // SAFETY: a value of the type, as asserted.
        unsafe { T::from_datum(value, is_null) }
    }

    /// A column, counted from 1, in its text form, which is in the database's encoding; None for
    /// NULL.
    pub fn text(&self, column: usize) -> Option<Vec<u8>> {
        // SAFETY: the row has this type; NULL and a missing column give a null pointer.
        let text = unsafe { pg_sys::SPI_getvalue(self.tuple, self.desc, number(column)) };
        // SAFETY: not null, so a C string in SPI's memory.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
    }

    /// The value as it is, and whether it is NULL.
    pub(crate) fn binary(&self, column: usize) -> (pg_sys::Datum, bool) {
        let mut is_null = false;
        // SAFETY: a row of SPI's result and its type; a column that is not there is NULL.
        let value =
            unsafe { pg_sys::SPI_getbinval(self.tuple, self.desc, number(column), &mut is_null) };
        (value, is_null)
    }
}

fn number(column: usize) -> c_int {
    c_int::try_from(column).expect("a row has at most 1664 columns")
}
