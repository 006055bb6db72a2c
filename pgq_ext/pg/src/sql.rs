//! Statements, run through SPI.
//!
//! There is one way: a [`Plan`], made in a [`Connection`] and run [`Under`] a snapshot that the
//! caller names. A [`Query`] is a statement whose plan the session keeps. pgrx's own functions do
//! not fit: which snapshot they take depends on whether the transaction has its id.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::guc::without_jit;
use super::ports;
use super::row::Row;
use super::value::Value;

/// A connection to SPI. What statements return through it is gone when it ends.
pub struct Connection(());

/// Which snapshot a statement runs under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// The one that is active, which is the calling statement's. The statement cannot write.
    Active,
    /// One of this moment, whatever the isolation level of the transaction is. The statement cannot
    /// write.
    Latest,
    /// One that it takes itself, as the next statement of the transaction would: it sees what the
    /// transaction has done so far. It may write.
    Own,
}

/// SPI refused to work; the text is its name for the reason.
#[derive(Debug)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A prepared statement, kept for as long as the value lives. PostgreSQL plans it anew by itself
/// when an object changes.
pub struct Plan {
    plan: pg_sys::SPIPlanPtr,
    parameters: usize,
}

/// What a statement returned.
pub struct Answer<'c> {
    code: c_int,
    table: *mut pg_sys::SPITupleTable,
    rows: usize,
    connection: PhantomData<&'c Connection>,
}

/// A row of an [`Answer`].
#[derive(Clone, Copy)]
pub struct Record<'a> {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
    answer: PhantomData<&'a ()>,
}

/// Run `f` connected to SPI, without JIT compilation. Connections nest.
pub fn connected<R>(f: impl FnOnce(&Connection) -> R) -> R {
    without_jit(|| {
        // SAFETY: inside a transaction. An error between ends the connection with it.
        unsafe { pg_sys::SPI_connect() };
        let result = f(&Connection(()));
        // SAFETY: ends the connection made above; answers cannot outlive it.
        unsafe { pg_sys::SPI_finish() };
        result
    })
}

impl Plan {
    /// Prepare a statement, in the database's encoding, with parameters of these types. Errors in
    /// the statement are raised.
    pub fn prepare(
        _connection: &Connection,
        sql: &[u8],
        types: &[pg_sys::Oid],
    ) -> Result<Self, Refused> {
        let sql = CString::new(sql).map_err(|_| Refused("zero byte in a query".to_owned()))?;
        let mut types = types.to_vec();
        let parameters = types.len();
        let count = c_int::try_from(parameters).expect("PostgreSQL allows 65535 parameters");
        // SAFETY: connected; a C string and as many types as the count says, which are copied.
        let plan = unsafe { pg_sys::SPI_prepare(sql.as_ptr(), count, types.as_mut_ptr()) };
        if plan.is_null() {
            // SAFETY: a backend-local variable, read on the backend's only thread.
            return Err(refusal(unsafe { pg_sys::SPI_result }));
        }
        // SAFETY: prepared above, and not kept yet.
        match unsafe { pg_sys::SPI_keepplan(plan) } {
            0 => Ok(Self { plan, parameters }),
            code => Err(refusal(code)),
        }
    }

    /// Run it with these arguments, which have the types it was prepared for.
    pub fn run<'c>(
        &self,
        connection: &'c Connection,
        arguments: &[Value],
        under: Under,
    ) -> Result<Answer<'c>, Refused> {
        let mut values: Vec<_> = arguments.iter().map(|value| value.datum()).collect();
        let nulls: Vec<_> = arguments.iter().map(|value| null_flag(value.is_null())).collect();
        self.execute(connection, &mut values, &nulls, under)
    }

    /// Run a SELECT under the active snapshot, with values of a row as arguments.
    pub fn run_for_row<'c>(
        &self,
        connection: &'c Connection,
        row: &Row<'_>,
        columns: &[usize],
    ) -> Result<Answer<'c>, Refused> {
        let arguments: Vec<_> = columns.iter().map(|&column| row.parameter(column)).collect();
        let mut values: Vec<_> =
            arguments.iter().map(|value| value.unwrap_or_else(pg_sys::Datum::null)).collect();
        let nulls: Vec<_> = arguments.iter().map(|value| null_flag(value.is_none())).collect();
        self.execute(connection, &mut values, &nulls, Under::Active)
    }

    fn execute<'c>(
        &self,
        _connection: &'c Connection,
        values: &mut [pg_sys::Datum],
        nulls: &[c_char],
        under: Under,
    ) -> Result<Answer<'c>, Refused> {
        assert_eq!(values.len(), self.parameters, "one argument for each parameter");
        if under == Under::Latest {
            // SAFETY: GetLatestSnapshot gives a static snapshot, which PushActiveSnapshot copies.
            // An error below ends the (sub)transaction, which pops it.
            unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
        }
        let reads_only = under != Under::Own;
        // SAFETY: the plan is alive, and there is a value and a flag for each of its parameters.
        let code = unsafe {
            pg_sys::SPI_execute_plan(self.plan, values.as_mut_ptr(), nulls.as_ptr(), reads_only, 0)
        };
        if under == Under::Latest {
            // SAFETY: pushed above; what was pushed later has been popped.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
        if code < 0 {
            return Err(refusal(code));
        }
        // SAFETY: backend-local variables that SPI_execute_plan has just set.
        let (table, rows) = unsafe { (pg_sys::SPI_tuptable, pg_sys::SPI_processed) };
        // A statement without result has processed rows, too.
        let rows = if table.is_null() { 0 } else { rows };
        let rows = ports::count(rows);
        Ok(Answer { code, table, rows, connection: PhantomData })
    }
}

fn null_flag(is_null: bool) -> c_char {
    c_char::from_ne_bytes(if is_null { *b"n" } else { *b" " })
}

impl Drop for Plan {
    fn drop(&mut self) {
        // While an error unwinds, PostgreSQL must not be called; the plan then stays until the
        // session ends.
        if !std::thread::panicking() {
            // SAFETY: a kept plan, which nothing refers to any more.
            unsafe { pg_sys::SPI_freeplan(self.plan) };
        }
    }
}

impl Answer<'_> {
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

fn refusal(code: c_int) -> Refused {
    // SAFETY: returns a static or thread-local C string for any number.
    let name = unsafe { CStr::from_ptr(pg_sys::SPI_result_code_string(code)) };
    Refused(name.to_string_lossy().into_owned())
}

/// A statement and, once it has run, its plan: for a `thread_local!`.
pub struct Query {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    plan: RefCell<Option<Rc<Plan>>>,
}

impl Query {
    /// Nothing is prepared yet.
    pub const fn new(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        Self { sql, types, plan: RefCell::new(None) }
    }

    /// The plan, made by the first call. Errors in the statement are raised.
    pub fn plan(&self, connection: &Connection) -> Result<Rc<Plan>, Refused> {
        if let Some(plan) = self.plan.borrow().as_ref() {
            return Ok(Rc::clone(plan));
        }
        let plan = Rc::new(Plan::prepare(connection, self.sql.as_bytes(), self.types)?);
        self.plan.replace(Some(Rc::clone(&plan)));
        Ok(plan)
    }

    /// Run it and give `read` the first row; None when there is none.
    pub fn first<R>(
        &self,
        arguments: &[Value],
        under: Under,
        read: impl FnOnce(Record<'_>) -> R,
    ) -> Result<Option<R>, Refused> {
        connected(|connection| {
            let answer = self.plan(connection)?.run(connection, arguments, under)?;
            Ok(answer.records().next().map(read))
        })
    }
}
