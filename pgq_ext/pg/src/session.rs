//! Transactions of a background worker, and queries in them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use core::ffi::{c_char, c_int};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{IntoDatum, PgSqlErrorCode, PgTryBuilder};

use super::guc::without_jit;
use super::{discard, limit, ports, rights, string};

/// Why a transaction was rolled back.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
}

/// An argument of a query.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `integer`
    Int4(i32),
    /// `bigint`
    Int8(i64),
    /// `text`
    Text(&'a str),
}

/// A row, each column in its text form.
pub type Row = Vec<Option<String>>;

/// Run `body` in a transaction of its own and commit; roll back and say why when an error is raised
/// in it or by the commit.
///
/// The transaction begins now: `now()` is this moment. It is for code of the server's or our own
/// only: anybody else's goes through [`transaction_for_others`].
pub fn transaction<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    reported(plain(body))
}

/// The same for code that others have written or may change. It runs and commits as the session's
/// role, see [`rights`], and is cancelled when it takes longer than the limit. It may leave things
/// in the session: see [`discard_everything`].
pub fn transaction_for_others<T>(
    limit: Option<Duration>,
    body: impl FnOnce() -> T,
) -> Result<T, Failure> {
    reported(limit::within(limit, || {
        guarded(|| {
            begin();
            rights::enter();
            let value = body();
            rights::enter_commit();
            commit();
            rights::leave();
            value
        })
    }))
}

/// The same as bootstrap superuser, for a command that sees to it itself whose rights the code of
/// others gets: VACUUM.
pub fn transaction_as_superuser<T>(
    limit: Option<Duration>,
    body: impl FnOnce() -> T,
) -> Result<T, Failure> {
    reported(rights::as_superuser(|| limit::within(limit, || plain(body))))
}

/// Forget what the code of others has left in the session: settings, temporary tables, cursors,
/// prepared statements, locks.
pub fn discard_everything() -> Result<(), Failure> {
    transaction(discard::everything)
}

fn plain<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    guarded(|| {
        begin();
        let value = body();
        commit();
        value
    })
}

fn guarded<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|cause| Err(failure(&cause)))
        .catch_rust_panic(|cause| Err(failure(&cause)))
        .execute();
    if result.is_err() {
        rollback();
    }
    result
}

fn reported<T>(result: Result<T, Failure>) -> Result<T, Failure> {
    ports::report_statistics();
    result
}

/// Begin a transaction, as a client's statement would.
pub fn begin() {
    // SAFETY: no transaction is open; `now()` comes from the statement's start.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
}

/// Commit it.
pub fn commit() {
    // SAFETY: a transaction is open and no SPI connection is.
    unsafe { pg_sys::CommitTransactionCommand() }
}

fn rollback() {
    // SAFETY: the error has been taken out of the server's error stack by the guard that turned it
    // into a panic, and nothing of ours lives in the transaction's memory.
    unsafe { pg_sys::AbortCurrentTransaction() }
}

fn failure(cause: &CaughtError) -> Failure {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = cause;
    // What is not UTF-8 was lost when pgrx copied the message.
    let message = match report.message() {
        message if string::is_utf8() => message.to_owned(),
        message => message.replace(char::REPLACEMENT_CHARACTER, "?"),
    };
    Failure { sqlstate: sqlstate(report.sql_error_code()), message }
}

// Five characters of six bits each (MAKE_SQLSTATE).
#[expect(clippy::as_conversions, reason = "the number behind a C-like enum")]
fn sqlstate(code: PgSqlErrorCode) -> String {
    let code = code as isize;
    (0..5)
        .filter_map(|position| {
            let bits = u8::try_from((code >> (6 * position)) & 0x3f).ok()?;
            Some(char::from(bits + b'0'))
        })
        .collect()
}

thread_local! {
    static PLANS: RefCell<HashMap<&'static str, pg_sys::SPIPlanPtr>> = RefCell::new(HashMap::new());
}

/// Run a statement that this process will run again and again; its plan is kept.
///
/// Errors are raised, to be caught by [`transaction`] or by the server.
pub fn query(sql: &'static str, arguments: &[Value<'_>]) -> Vec<Row> {
    connected(|| {
        let known = PLANS.with_borrow(|plans| plans.get(sql).copied());
        let plan = known.unwrap_or_else(|| {
            let plan = prepare(sql, arguments);
            // SAFETY: a plan of this connection; kept, it lives as long as the process.
            unsafe { pg_sys::SPI_keepplan(plan) };
            PLANS.with_borrow_mut(|plans| plans.insert(sql, plan));
            plan
        });
        execute(plan, arguments)
    })
}

/// Run a statement once.
pub fn query_once(sql: &str, arguments: &[Value<'_>]) -> Vec<Row> {
    connected(|| execute(prepare(sql, arguments), arguments))
}

fn connected<T>(body: impl FnOnce() -> T) -> T {
    without_jit(|| connected_as_is(body))
}

fn connected_as_is<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: a transaction is open. An error leaves connection and snapshot to the rollback. The
    // snapshot stands for the portal's that a client's statement would have: functions may ask for
    // one. Statements take their own.
    unsafe {
        pg_sys::SPI_connect();
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
    let value = body();
    // SAFETY: closes what was opened above. Results have been copied.
    unsafe {
        pg_sys::PopActiveSnapshot();
        pg_sys::SPI_finish();
    }
    value
}

fn prepare(sql: &str, arguments: &[Value<'_>]) -> pg_sys::SPIPlanPtr {
    let text = string::to_server(sql);
    let mut types: Vec<pg_sys::Oid> = arguments
        .iter()
        .map(|argument| match argument {
            Value::Int4(_) => pg_sys::INT4OID,
            Value::Int8(_) => pg_sys::INT8OID,
            Value::Text(_) => pg_sys::TEXTOID,
        })
        .collect();
    let count = c_int::try_from(types.len()).unwrap_or(0);
    // SAFETY: connected; the server copies text and types.
    let plan = unsafe { pg_sys::SPI_prepare(text.as_ptr(), count, types.as_mut_ptr()) };
    if plan.is_null() {
        // SAFETY: a variable of this process.
        let code = unsafe { pg_sys::SPI_result };
        pgrx::error!("SPI_prepare failed with code {code}: {sql}");
    }
    plan
}

fn execute(plan: pg_sys::SPIPlanPtr, arguments: &[Value<'_>]) -> Vec<Row> {
    let mut values: Vec<pg_sys::Datum> = arguments
        .iter()
        .map(|argument| {
            match argument {
                Value::Int4(number) => number.into_datum(),
                Value::Int8(number) => number.into_datum(),
                Value::Text(text) => Some(string::to_datum(text)),
            }
            .unwrap_or(pg_sys::Datum::from(0))
        })
        .collect();
    // SAFETY: the values have the types the plan was made for; none is null. Read-write: each
    // statement of a function it calls gets a snapshot of its own.
    let code = unsafe {
        pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), std::ptr::null::<c_char>(), false, 0)
    };
    if code < 0 {
        pgrx::error!("SPI_execute_plan failed with code {code}");
    }
    rows()
}

fn rows() -> Vec<Row> {
    // SAFETY: set by the statement that has just run; null when it returns no rows.
    let Some(table) = (unsafe { pg_sys::SPI_tuptable.as_ref() }) else { return Vec::new() };
    // SAFETY: as above.
    let count = usize::try_from(unsafe { pg_sys::SPI_processed }).unwrap_or(0);
    // SAFETY: the descriptor of the result.
    let columns = unsafe { (*table.tupdesc).natts };
    (0..count)
        .map(|row| {
            (1..=columns)
                .map(|column| {
                    // SAFETY: row and column exist; the text is a C string in SPI's memory, copied
                    // at once.
                    unsafe {
                        let tuple = *table.vals.add(row);
                        let text = pg_sys::SPI_getvalue(tuple, table.tupdesc, column);
                        (!text.is_null()).then(|| string::from_server(CStr::from_ptr(text)))
                    }
                })
                .collect()
        })
        .collect()
}
