//! How SQL starts and stops the worker of its database.

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::elog::PgLogLevel;

use crate::shared::Shared;
use crate::{settings, worker};
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::{process, session};

/// `pgq._worker_control(start)`.
pub(crate) fn worker_control(call: &Call) -> Result<Returned, SqlError> {
    Ok(call.bool(0).map_or(Returned::Null, |start| Returned::Int4(control(start))))
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
          (select oid from pg_catalog.pg_database \
            where datname operator(pg_catalog.=) pg_catalog.current_database())";

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
    let argument = worker::ALONE + usize::try_from(own).expect("an address has 32 bits");
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
