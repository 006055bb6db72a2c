//! What SQL sees of the worker, and how SQL commands it.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::elog::PgLogLevel;

use crate::shared::{Database, Problem, Shared};
use crate::{problems, settings, worker};
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::process;
use pgq_pg::session;
use pgq_pg::string::presentable;
use pgq_pg::text::Text;

/// `pgq._worker_state()`.
pub(crate) fn worker_state(_call: &Call) -> Result<Returned, SqlError> {
    Ok(Returned::Text(Text::of_string(&json())))
}

/// `pgq._worker_control(start)`.
pub(crate) fn worker_control(call: &Call) -> Result<Returned, SqlError> {
    Ok(call.bool(0).map_or(Returned::Null, |start| Returned::Int4(control(start))))
}

/// All of it as one JSON object:
///
/// * `preloaded`: whether the library is in `shared_preload_libraries`;
/// * `launcher_pid`, or null;
/// * `max_workers`;
/// * `databases`: one object for each slot;
/// * `waiters`: for this database, how many sessions wait for which queue id;
/// * `problems`: what fails in this database.
///
/// Times are seconds since 1970.
fn json() -> String {
    let own = process::my_database();
    let mut text = String::from("{");
    let Some(shared) = Shared::get() else {
        text.push_str(
            "\"preloaded\":false,\"launcher_pid\":null,\"max_workers\":0,\
             \"databases\":[],\"waiters\":[],\"problems\":[]}",
        );
        return text;
    };
    let _ = write!(
        text,
        "\"preloaded\":true,\"launcher_pid\":{},\"max_workers\":{}",
        or_null(i64::from(shared.launcher_pid())),
        settings::max_workers()
    );
    let databases = shared.databases.iter().filter(|slot| slot.oid() != 0).map(database);
    let waiters = shared.waited_queues(own).into_iter().map(|queue| {
        format!("{{\"queue_id\":{queue},\"waiters\":{}}}", shared.count_waiters(own, queue))
    });
    let problems = problems::of(&shared, own).map(problem);
    list(&mut text, "databases", databases);
    list(&mut text, "waiters", waiters);
    list(&mut text, "problems", problems);
    text.push('}');
    text
}

fn database(slot: &Database) -> String {
    let error = slot.error.load();
    format!(
        "{{\"oid\":{},\"pid\":{},\"state\":{},\"since\":{},\"last_tick\":{},\"ticks\":{},\"demand_ticks\":{},\
         \"retries\":{},\"rotations\":{},\"vacuums\":{},\"restarts\":{},\"errors\":{},\"last_error\":{},\
         \"last_error_at\":{}}}",
        slot.oid(),
        or_null(i64::from(slot.pid.load(Ordering::SeqCst))),
        quote(slot.state().name()),
        seconds(slot.since.load(Ordering::SeqCst)),
        seconds(slot.last_tick.load(Ordering::SeqCst)),
        slot.ticks.load(Ordering::SeqCst),
        slot.demand_ticks.load(Ordering::SeqCst),
        slot.retries.load(Ordering::SeqCst),
        slot.rotations.load(Ordering::SeqCst),
        slot.vacuums.load(Ordering::SeqCst),
        slot.restarts.load(Ordering::SeqCst),
        slot.errors.load(Ordering::SeqCst),
        if error.is_empty() { "null".to_owned() } else { quote(&error) },
        seconds(slot.error_at.load(Ordering::SeqCst)),
    )
}

fn problem(problem: &Problem) -> String {
    format!(
        "{{\"task\":{},\"object\":{},\"sqlstate\":{},\"message\":{},\"first\":{},\"last\":{},\"count\":{}}}",
        quote(&problem.task.load()),
        quote(&problem.object.load()),
        quote(&problem.sqlstate.load()),
        quote(&problem.message.load()),
        seconds(problem.first.load(Ordering::SeqCst)),
        seconds(problem.last.load(Ordering::SeqCst)),
        problem.count.load(Ordering::SeqCst),
    )
}

fn list(text: &mut String, name: &str, items: impl Iterator<Item = String>) {
    let items: Vec<String> = items.collect();
    let _ = write!(text, ",\"{name}\":[{}]", items.join(","));
}

fn or_null(number: i64) -> String {
    if number == 0 { "null".to_owned() } else { number.to_string() }
}

fn seconds(timestamp: i64) -> String {
    if timestamp == 0 {
        return "null".to_owned();
    }
    let (whole, rest) = (timestamp.div_euclid(1_000_000), timestamp.rem_euclid(1_000_000));
    format!("{}.{rest:06}", whole + process::EPOCH)
}

fn quote(text: &str) -> String {
    let text = presentable(text);
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Start (`true`) or stop the worker of this database. 1: done or asked for; 0: nothing to do.
///
/// Raises 55000 when there can be none, 53400 when the server has no process for one.
fn control(start: bool) -> i32 {
    let own = process::my_database();
    match Shared::get() {
        Some(shared) if settings::max_workers() > 0 => control_shared(&shared, own, start),
        Some(_) => raise(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "pgq.max_workers is zero",
        ),
        None => control_alone(own, start),
    }
}

fn control_shared(shared: &Shared, own: u32, start: bool) -> i32 {
    let Some(slot) = shared.database(own) else {
        if start {
            shared.announce(own);
        }
        return i32::from(start);
    };
    let running = slot.has_worker() && !slot.stop_is_asked();
    slot.set_stop(!start);
    slot.wake_worker();
    shared.wake_launcher();
    i32::from(running != start)
}

/// The worker that runs here without shared memory, if there is one.
const LONE_WORKER: &str = "\
    select pid from pg_catalog.pg_stat_activity \
    where backend_type operator(pg_catalog.=) 'pgq worker' \
      and datid operator(pg_catalog.=) \
          (select oid from pg_catalog.pg_database where datname operator(pg_catalog.=) pg_catalog.current_database())";

fn control_alone(own: u32, start: bool) -> i32 {
    let running: Vec<i32> = session::query(LONE_WORKER, &[])
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    if !start {
        for &pid in &running {
            process::terminate(pid);
        }
        return i32::from(!running.is_empty());
    }
    if !running.is_empty() {
        return 0;
    }
    let argument = worker::ALONE + usize::try_from(own).unwrap_or(0);
    if process::start(worker::KIND, argument).is_none() {
        raise(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "no background worker slot is free: raise max_worker_processes",
        )
    }
    1
}

fn raise(code: PgSqlErrorCode, message: &'static str) -> ! {
    pgrx::ereport!(PgLogLevel::ERROR, code, message);
    unreachable!("an error was raised")
}
