//! Transactions of a background worker, and queries in them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use pgq_core::encode::opaque;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder};

use super::call::SqlError;
use super::snapshot::StatementSnapshot;
use super::sql::{self, Connection, Plan, Prepared, Record, Refused, Statement, Under};
use super::text::Text;
use super::{discard, limit, ports, rights, string, value};

/// Why a transaction was rolled back, or a statement of one.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Five characters.
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// What more is known.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// One of ours, with nothing but code and message.
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        let sqlstate = sqlstate.to_owned();
        Self { sqlstate, message: message.into(), detail: None, hint: None }
    }

    /// True when it is not what was done that failed: somebody has asked for the end of the
    /// statement or of the session.
    pub fn is_asked(&self) -> bool {
        self.sqlstate.starts_with("57")
    }

    /// Raise it again.
    pub fn raise(self) -> ! {
        let code = error_code(&self.sqlstate);
        SqlError { code, message: self.message, hint: self.hint }.raise()
    }
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
    let result = caught(body);
    if result.is_err() {
        rollback();
    }
    result
}

/// Run `body` and catch what it raises. Whoever calls it rolls back what the error left half done.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, Failure> {
    PgTryBuilder::new(AssertUnwindSafe(|| Ok(body())))
        .catch_others(|cause| Err(failure(&cause)))
        .catch_rust_panic(|cause| Err(failure(&cause)))
        .execute()
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
    // What is not UTF-8 was lost when pgrx copied the texts.
    let shown = |text: &str| match string::is_utf8() {
        true => text.to_owned(),
        false => text.replace(char::REPLACEMENT_CHARACTER, "?"),
    };
    Failure {
        sqlstate: sqlstate(report.sql_error_code()),
        message: shown(report.message()),
        detail: report.detail().map(shown),
        hint: report.hint().map(shown),
    }
}

// Five characters of six bits each (MAKE_SQLSTATE).
#[expect(clippy::as_conversions, reason = "the number behind a C-like enum")]
pub(crate) fn sqlstate(code: PgSqlErrorCode) -> String {
    let code = code as isize;
    (0..5)
        .map(|position| {
            let bits = u8::try_from((code >> (6 * position)) & 0x3f).expect("six bits");
            char::from(bits + b'0')
        })
        .collect()
}

// The other way round.
fn error_code(sqlstate: &str) -> PgSqlErrorCode {
    let number = sqlstate.bytes().rev().fold(0, |number: i32, character| {
        (number << 6) | i32::from(character.wrapping_sub(b'0') & 0x3f)
    });
    PgSqlErrorCode::from(number)
}

thread_local! {
    static PLANS: RefCell<HashMap<&'static str, Rc<Plan>>> = RefCell::new(HashMap::new());
}

/// Run a statement that this process will run again and again; its plan is kept.
///
/// Errors are raised, to be caught by [`transaction`] or by the server.
pub fn query(sql: &'static str, arguments: &[Value<'_>]) -> Vec<Row> {
    connected(|connection| {
        let known = PLANS.with_borrow(|plans| plans.get(sql).cloned());
        let plan = known.unwrap_or_else(|| {
            let plan = prepare(connection, sql, arguments).keep();
            let plan = Rc::new(plan.unwrap_or_else(|refused| raise(&refused, sql)));
            PLANS.with_borrow_mut(|plans| plans.insert(sql, Rc::clone(&plan)));
            plan
        });
        execute(connection, &plan, arguments)
    })
}

/// Run a statement once.
pub fn query_once(sql: &str, arguments: &[Value<'_>]) -> Vec<Row> {
    connected(|connection| execute(connection, &prepare(connection, sql, arguments), arguments))
}

/// Run `body` connected to SPI, with a snapshot as a client's statement has one.
pub(crate) fn connected<T>(body: impl FnOnce(&Connection) -> T) -> T {
    sql::connected(|connection| {
        // For the portal's that a client's statement would have: functions may ask for one.
        // Statements take their own.
        let _snapshot = StatementSnapshot::take();
        body(connection)
    })
}

fn prepare<'c>(connection: &'c Connection, sql: &str, arguments: &[Value<'_>]) -> Prepared<'c> {
    let types: Vec<pg_sys::Oid> = arguments
        .iter()
        .map(|argument| match argument {
            Value::Int4(_) => pg_sys::INT4OID,
            Value::Int8(_) => pg_sys::INT8OID,
            Value::Text(_) => pg_sys::TEXTOID,
        })
        .collect();
    connection
        .prepare(string::to_server(sql).as_bytes(), &types)
        .unwrap_or_else(|refused| raise(&refused, sql))
}

fn execute(connection: &Connection, statement: &Statement, arguments: &[Value<'_>]) -> Vec<Row> {
    let values: Vec<value::Value> = arguments
        .iter()
        .map(|argument| match argument {
            Value::Int4(number) => value::Value::Int4(*number),
            Value::Int8(number) => value::Value::Int8(*number),
            Value::Text(text) => value::Value::Text(Text::of_string(text)),
        })
        .collect();
    let answer = statement
        .run(connection, &values, Under::Own)
        .unwrap_or_else(|refused| raise(&refused, "a statement"));
    let columns = answer.columns();
    let row = |record: Record<'_>| {
        let text = |column| record.text(column).map(|text| opaque::decode(&text).into_owned());
        (1..=columns).map(text).collect()
    };
    answer.records().map(row).collect()
}

/// Raise what SPI has refused.
pub(crate) fn raise(refused: &Refused, sql: &str) -> ! {
    let code = PgSqlErrorCode::ERRCODE_INTERNAL_ERROR;
    SqlError { code, message: format!("SPI refuses {sql}: {refused}"), hint: None }.raise()
}
