//! Statements: prepared for one connection, or kept.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ops::Deref;

use pgrx::pg_sys;

use super::answer::Answer;
use super::connection::{Connection, Refused, refusal};
use crate::row::Row;
use crate::value::Value;

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

/// A statement that can be run, be it [`Prepared`] or a [`Plan`]. PostgreSQL plans it anew by
/// itself when an object changes.
pub struct Statement {
    plan: pg_sys::SPIPlanPtr,
    parameters: usize,
}

/// A statement prepared in a connection, which frees it, also when an error ends the connection.
pub struct Prepared<'c> {
    statement: Statement,
    connection: PhantomData<&'c Connection>,
}

/// A prepared statement, kept for as long as the value lives.
pub struct Plan(Statement);

impl Connection {
    /// Prepare a statement, in the database's encoding, with parameters of these types. Errors in
    /// the statement are raised.
    pub fn prepare(&self, sql: &[u8], types: &[pg_sys::Oid]) -> Result<Prepared<'_>, Refused> {
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
        Ok(Prepared { statement: Statement { plan, parameters }, connection: PhantomData })
    }

    /// Run statements without parameters, in the database's encoding, each of which sees what those
    /// before it have done.
    pub fn run(&self, sql: &CStr) -> Result<(), Refused> {
        // SAFETY: connected; a C string.
        match unsafe { pg_sys::SPI_execute(sql.as_ptr(), false, 0) } {
            code if code < 0 => Err(refusal(code)),
            _ => Ok(()),
        }
    }
}

impl Prepared<'_> {
    /// Keep it beyond the connection.
    pub fn keep(self) -> Result<Plan, Refused> {
        free_abandoned();
        // SAFETY: prepared in a connection that is still open, and not kept yet.
        match unsafe { pg_sys::SPI_keepplan(self.statement.plan) } {
            0 => Ok(Plan(self.statement)),
            code => Err(refusal(code)),
        }
    }
}

impl Statement {
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
        connection: &'c Connection,
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
        Ok(Answer::take(connection, code))
    }
}

fn null_flag(is_null: bool) -> c_char {
    c_char::from_ne_bytes(if is_null { *b"n" } else { *b" " })
}

impl Deref for Prepared<'_> {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.statement
    }
}

impl Deref for Plan {
    type Target = Statement;

    fn deref(&self) -> &Statement {
        &self.0
    }
}

thread_local! {
    /// Plans that nobody has any more, and that could not be freed yet.
    static ABANDONED: RefCell<Vec<pg_sys::SPIPlanPtr>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Plan {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // While an error unwinds, PostgreSQL must not be called. Where even the list is gone,
            // the process ends.
            let _ = ABANDONED.try_with(|plans| plans.borrow_mut().push(self.0.plan));
            return;
        }
        // SAFETY: a kept plan, which nothing refers to any more.
        unsafe { pg_sys::SPI_freeplan(self.0.plan) };
    }
}

fn free_abandoned() {
    for plan in ABANDONED.take() {
        // SAFETY: a kept plan, whose owner is gone.
        unsafe { pg_sys::SPI_freeplan(plan) };
    }
}
