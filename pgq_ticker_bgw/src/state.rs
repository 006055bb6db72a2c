//! What SQL sees of the worker: shared memory as rows.
//!
//! `sql/pgq/functions/worker.sql` declares their columns. They are found by name, so SQL of an
//! older release, which has fewer, is served.

use std::sync::atomic::{AtomicI64, Ordering};

use pgrx::PgSqlErrorCode;

use crate::shared::{Database, Problem, Shared};
use crate::{problems, settings};
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::process;
use pgq_pg::row_store::{RowStore, UnknownColumn};
use pgq_pg::string::presentable;
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::pg_sys::Oid;

/// A value and the name of its column.
type Named = (&'static str, Value);

/// `pgq._worker_server()`: one row about the server.
pub(crate) fn worker_server(call: &Call) -> Result<Returned, SqlError> {
    let shared = Shared::get();
    let max_workers = shared.map_or(0, |_| settings::max_workers());
    let max_workers = i32::try_from(max_workers).expect("at most 1024, as the setting has it");
    let row = [
        ("preloaded", Value::Bool(shared.is_some())),
        ("launcher_pid", shared.map_or(Value::Null, |shared| pid(shared.launcher_pid()))),
        ("max_workers", Value::Int4(max_workers)),
    ];
    give(call, [row])
}

/// `pgq._worker_databases()`: a row for each database that has, or may have, a worker.
pub(crate) fn worker_databases(call: &Call) -> Result<Returned, SqlError> {
    let slots = Shared::get().map_or(&[][..], |shared| shared.databases);
    give(call, slots.iter().filter(|slot| slot.oid() != 0).map(database))
}

/// `pgq._worker_waiters()`: for each queue of this database that sessions wait for, how many do.
pub(crate) fn worker_waiters(call: &Call) -> Result<Returned, SqlError> {
    let own = process::my_database();
    let waiters = |shared: Shared| {
        shared.waited_queues(own).into_iter().map(move |queue| {
            let (count, wakes) = shared.count_waiters(own, queue);
            let count = i32::try_from(count).expect("no more than there are sessions");
            [
                ("queue_id", Value::Int4(queue)),
                ("waiters", Value::Int4(count)),
                ("wakes", Value::Int8(wakes)),
            ]
        })
    };
    give(call, Shared::get().into_iter().flat_map(waiters))
}

/// `pgq._worker_problems()`: a row for each thing that fails in this database.
pub(crate) fn worker_problems(call: &Call) -> Result<Returned, SqlError> {
    let own = process::my_database();
    let shared = Shared::get();
    give(call, shared.iter().flat_map(|shared| problems::of(shared, own)).map(problem))
}

/// Make rows the result of the call.
fn give<const N: usize>(
    call: &Call,
    rows: impl IntoIterator<Item = [Named; N]>,
) -> Result<Returned, SqlError> {
    let mut store = RowStore::begin(call);
    for row in rows {
        store.put(&row).map_err(of_another_release)?;
    }
    store.finish();
    Ok(Returned::Done)
}

fn of_another_release(UnknownColumn(column): UnknownColumn) -> SqlError {
    SqlError {
        code: PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        message: format!("library pgq knows nothing of column \"{column}\""),
        hint: Some(
            "The extension's SQL is newer than the library that the server has loaded: restart \
             the server."
                .to_owned(),
        ),
    }
}

fn database(slot: &Database) -> [Named; 14] {
    let error = slot.error.load();
    [
        ("oid", Value::Oid(Oid::from(slot.oid()))),
        ("pid", pid(slot.pid.load(Ordering::SeqCst))),
        ("state", text(slot.state().name())),
        ("since", time(&slot.since)),
        ("last_tick", time(&slot.last_tick)),
        ("ticks", number(&slot.ticks)),
        ("demand_ticks", number(&slot.demand_ticks)),
        ("retries", number(&slot.retries)),
        ("rotations", number(&slot.rotations)),
        ("vacuums", number(&slot.vacuums)),
        ("restarts", number(&slot.restarts)),
        ("errors", number(&slot.errors)),
        ("last_error", if error.is_empty() { Value::Null } else { text(&error) }),
        ("last_error_at", time(&slot.error_at)),
    ]
}

fn problem(problem: &Problem) -> [Named; 7] {
    [
        ("task", text(&problem.task.load())),
        ("object", text(&problem.object.load())),
        ("sqlstate", text(&problem.sqlstate.load())),
        ("message", text(&problem.message.load())),
        ("first", time(&problem.first)),
        ("last", time(&problem.last)),
        ("count", number(&problem.count)),
    ]
}

fn pid(pid: i32) -> Value {
    if pid == 0 { Value::Null } else { Value::Int4(pid) }
}

fn text(text: &str) -> Value {
    Value::Text(Text::of_string(&presentable(text)))
}

fn number(stored: &AtomicI64) -> Value {
    Value::Int8(stored.load(Ordering::SeqCst))
}

/// A time in microseconds of PostgreSQL's epoch; 0: never.
fn time(stored: &AtomicI64) -> Value {
    match stored.load(Ordering::SeqCst) {
        0 => Value::Null,
        time => Value::Int8(time),
    }
}
