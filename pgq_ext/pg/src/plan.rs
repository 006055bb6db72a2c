//! Prepared queries that are kept for the session, for what runs once per row.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;

use super::guc::without_jit;
use pgrx::pg_sys;

use super::row::Row;
use super::text::Text;

/// A connection to SPI. What queries return through it is gone when it ends.
pub struct Connection(());

/// SPI refused to work; the text is its name for the reason.
#[derive(Debug)]
pub struct Refused(pub String);

/// A prepared query. Dropping it frees the plan.
pub struct Plan(pg_sys::SPIPlanPtr);

/// The result of a query.
pub struct Answer<'c> {
    table: *mut pg_sys::SPITupleTable,
    rows: u64,
    connection: PhantomData<&'c Connection>,
}

/// Run `f` connected to SPI, without JIT compilation.
pub fn connected<R>(f: impl FnOnce(&Connection) -> R) -> R {
    without_jit(|| {
        // SAFETY: inside a transaction; SPI connections nest. An error between ends the connection
        // with the transaction.
        unsafe { pg_sys::SPI_connect() };
        let result = f(&Connection(()));
        // SAFETY: ends the connection made above.
        unsafe { pg_sys::SPI_finish() };
        result
    })
}

impl Plan {
    /// Prepare a query, in the database's encoding, with parameters of these types. Errors in the
    /// query are raised.
    pub fn prepare(
        _connection: &Connection,
        sql: &[u8],
        types: &[pg_sys::Oid],
    ) -> Result<Self, Refused> {
        let sql = CString::new(sql).map_err(|_| Refused("zero byte in a query".to_owned()))?;
        let mut types = types.to_vec();
        let count = i32::try_from(types.len()).unwrap_or(i32::MAX);
        // SAFETY: a C string and as many types as the count says.
        let plan = unsafe { pg_sys::SPI_prepare(sql.as_ptr(), count, types.as_mut_ptr()) };
        if plan.is_null() {
            // SAFETY: a backend-local variable, read on the backend's only thread.
            return Err(refusal(unsafe { pg_sys::SPI_result }));
        }
        // SAFETY: prepared above, and not kept yet.
        match unsafe { pg_sys::SPI_keepplan(plan) } {
            0 => Ok(Self(plan)),
            code => Err(refusal(code)),
        }
    }

    /// Run it, read-only, with values of a row as parameters.
    pub fn read<'c>(
        &self,
        connection: &'c Connection,
        row: Option<&Row<'_>>,
        columns: &[usize],
    ) -> Result<Answer<'c>, Refused> {
        let parameters: Vec<_> =
            columns.iter().map(|&column| row.and_then(|row| row.parameter(column))).collect();
        self.run(connection, &parameters, true)
    }

    /// Run it, allowing writes, with text parameters.
    pub fn call<'c>(
        &self,
        connection: &'c Connection,
        parameters: &[Option<Text>],
    ) -> Result<Answer<'c>, Refused> {
        let parameters: Vec<_> =
            parameters.iter().map(|parameter| parameter.map(Text::datum)).collect();
        self.run(connection, &parameters, false)
    }

    fn run<'c>(
        &self,
        _connection: &'c Connection,
        parameters: &[Option<pg_sys::Datum>],
        read_only: bool,
    ) -> Result<Answer<'c>, Refused> {
        let mut values: Vec<_> =
            parameters.iter().map(|value| value.unwrap_or(pg_sys::Datum::null())).collect();
        let null_flag = |value: &Option<_>| if value.is_none() { b'n' } else { b' ' };
        let nulls: Vec<u8> = parameters.iter().map(null_flag).collect();
        // SAFETY: the plan is alive, and there is a value and a flag for each of its parameters.
        let code = unsafe {
            pg_sys::SPI_execute_plan(
                self.0,
                values.as_mut_ptr(),
                nulls.as_ptr().cast::<c_char>(),
                read_only,
                0,
            )
        };
        if code != pg_sys::SPI_OK_SELECT.cast_signed() {
            return Err(refusal(code));
        }
        // SAFETY: backend-local variables that SPI_execute_plan has just set.
        let (table, rows) = unsafe { (pg_sys::SPI_tuptable, pg_sys::SPI_processed) };
        Ok(Answer { table, rows, connection: PhantomData })
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // While an error unwinds, PostgreSQL must not be called; the plan then stays until the
        // session ends.
        if !std::thread::panicking() {
            // SAFETY: a kept plan, which nothing refers to any more.
            unsafe { pg_sys::SPI_freeplan(self.0) };
        }
    }
}

impl Answer<'_> {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Type of the first column; InvalidOid when there is none.
    pub fn first_type(&self) -> pg_sys::Oid {
        // SAFETY: a SELECT has a result table, which lives as long as the connection.
        let desc = unsafe { (*self.table).tupdesc };
        // SAFETY: as above; a missing column gives InvalidOid.
        unsafe { pg_sys::SPI_gettypeid(desc, 1) }
    }

    /// The first row's first column as text; None for NULL, or when there is none.
    pub fn first_text(&self) -> Option<Vec<u8>> {
        if self.rows == 0 {
            return None;
        }
        // SAFETY: there is a first row.
        let (row, desc) = unsafe { (*(*self.table).vals, (*self.table).tupdesc) };
        // SAFETY: the row has this type; NULL and a missing column give a null pointer.
        let text = unsafe { pg_sys::SPI_getvalue(row, desc, 1) };
        if text.is_null() {
            return None;
        }
        // SAFETY: not null, so a C string.
        Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
    }
}

fn refusal(code: i32) -> Refused {
    // SAFETY: returns a static or thread-local C string for any number.
    let name = unsafe { CStr::from_ptr(pg_sys::SPI_result_code_string(code)) };
    Refused(name.to_string_lossy().into_owned())
}
