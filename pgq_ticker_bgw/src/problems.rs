//! What does not work at the moment, and since when.
//!
//! A problem is a task that failed for an object, say the tick of one queue. It is logged when it
//! comes, and again when it fails with another SQLSTATE (texts may differ from one failure to the
//! next, by an id or a time). It stays in shared memory for `pgq.queue_health()`, and goes away,
//! with another log line, when the same task succeeds for the same object.

use std::sync::atomic::Ordering;

use crate::shared::{Problem, Shared};
use pgq_pg::session::Failure;
use pgq_pg::{process, report};

/// Problems that nothing has touched for longer than this many microseconds beyond a maintenance
/// period are forgotten: their object is gone.
const FORGET_AFTER: i64 = 600_000_000;

/// Note that a task failed.
pub(crate) fn record(shared: &Shared, database: u32, task: &str, object: &str, failure: &Failure) {
    let now = process::timestamp();
    let known = find(shared, database, task, object);
    let Some(problem) = known.or_else(|| claim(shared, database, task, object, now)) else {
        report::warning(&format!("pgq {task} of \"{object}\" failed: {}", failure.message));
        return;
    };
    if known.is_none() || !problem.sqlstate.holds(&failure.sqlstate) {
        report::warning(&format!("pgq {task} of \"{object}\" failed: {}", failure.message));
    }
    problem.sqlstate.store(&failure.sqlstate);
    problem.message.store(&failure.message);
    problem.last.store(now, Ordering::SeqCst);
    problem.count.fetch_add(1, Ordering::SeqCst);
}

/// Note that a task succeeded.
pub(crate) fn resolve(shared: &Shared, database: u32, task: &str, object: &str) {
    if let Some(problem) = find(shared, database, task, object) {
        let count = problem.count.load(Ordering::SeqCst);
        report::log(&format!("pgq {task} of \"{object}\" works again after {count} failures"));
        release(problem);
    }
}

/// When a task last failed with this message for this object, if that is how it failed last.
pub(crate) fn last(
    shared: &Shared,
    database: u32,
    task: &str,
    object: &str,
    message: &str,
) -> Option<i64> {
    find(shared, database, task, object)
        .filter(|problem| problem.message.holds(message))
        .map(|problem| problem.last.load(Ordering::SeqCst))
}

/// Forget what concerns the database, or only what is old.
pub(crate) fn forget(shared: &Shared, database: u32, period_if_old: Option<i64>) {
    let now = process::timestamp();
    for problem in of(shared, database) {
        let last = problem.last.load(Ordering::SeqCst);
        if period_if_old.is_none_or(|period| last + 2 * period + FORGET_AFTER < now) {
            release(problem);
        }
    }
}

/// Problems of one database.
pub(crate) fn of(shared: &Shared, database: u32) -> impl Iterator<Item = &'static Problem> {
    shared
        .header
        .problems
        .iter()
        .filter(move |problem| problem.database.load(Ordering::SeqCst) == database)
}

fn find(shared: &Shared, database: u32, task: &str, object: &str) -> Option<&'static Problem> {
    of(shared, database).find(|problem| problem.is_about(task, object))
}

fn claim(
    shared: &Shared,
    database: u32,
    task: &str,
    object: &str,
    now: i64,
) -> Option<&'static Problem> {
    let free = shared.header.problems.iter().find(|problem| {
        problem.database.compare_exchange(0, database, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    })?;
    free.task.store(task);
    free.object.store(object);
    free.message.store("");
    free.first.store(now, Ordering::SeqCst);
    free.count.store(0, Ordering::SeqCst);
    Some(free)
}

fn release(problem: &Problem) {
    problem.task.store("");
    problem.object.store("");
    problem.database.store(0, Ordering::SeqCst);
}
