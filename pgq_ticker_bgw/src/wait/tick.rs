//! `pgq._wait_tick`: a worker that reads slots sleeps until its queue has another tick, or somebody
//! wakes those who wait for the queue.

use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;

use super::reasons::Reasons;
use super::waiter::Waiter;
use super::{earliest, find_queue, raise};
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::latch::WaitEvent;
use pgq_pg::procedure::{Caller, outside_transaction};
use pgq_pg::process;
use pgq_pg::session::{self, Value};

/// `pgq._wait_tick(i_queue_name, i_since, i_timeout, i_tell)`.
///
/// Raises 25001 where the transaction is not ours to end, and 22004 for NULL.
pub(crate) fn wait_tick(call: &Call) -> Result<Returned, SqlError> {
    let (Some(queue), Some(limit)) = (call.string(0), call.interval(2)) else {
        raise(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "queue and timeout must not be NULL",
            "",
        )
    };
    let caller = call.caller();
    if caller == Caller::Transaction {
        raise(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "pgq.wait_receive cannot run inside a transaction block or a function",
            "It waits outside of any transaction. Use autocommit, or pgq.receive.",
        )
    }
    let since = call.int8(1);
    let limit = Duration::from_micros(limit.max(0).unsigned_abs());
    let deadline = Instant::now().checked_add(limit);
    let waiter = Waiter::new();
    let mut reasons = call.bool(3).unwrap_or(false).then(|| Reasons::begin(&queue));
    loop {
        // Who waits for no tick is not woken by one.
        let queue_id = since.and_then(|_| find_queue(&queue));
        let seen = waiter.register(queue_id);
        if since.is_some_and(|since| has_tick_after(&queue, since))
            || deadline.is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Ok(Returned::Null);
        }
        if let Some(reasons) = reasons.as_mut().filter(|reasons| reasons.are_due()) {
            reasons.tell();
        }
        waiter.ask_for_tick(queue_id);
        let until = earliest(deadline, reasons.as_ref().and_then(|reasons| reasons.due));
        let event = WaitEvent::named(c"PgqWaitBatch");
        outside_transaction(caller, || waiter.sleep(seen, until, event));
        // In a transaction again, where an error has its place.
        process::check_interrupts_in_query();
        if queue_id.is_some() && waiter.is_woken(seen) {
            return Ok(Returned::Null);
        }
    }
}

fn has_tick_after(queue: &str, tick: i64) -> bool {
    let rows = session::query(
        "select pgq._newest_tick($1) operator(pg_catalog.>) $2",
        &[Value::Text(queue), Value::Int8(tick)],
    );
    rows.into_iter().flatten().flatten().any(|answer| answer == "t")
}
