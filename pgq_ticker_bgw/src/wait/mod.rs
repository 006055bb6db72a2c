//! `pgq.wait_batch`: a consumer sleeps until there is a batch for it.
//!
//! No wake-up is lost, whatever the order of things: the waiter registers, notes how often it has
//! been woken, looks for a batch, and sleeps only if it has not been woken since. An event that
//! nobody has ticked yet has its queue's bit set; the waiter looks at the bit after it has
//! registered, the committing backend sets it before it wakes the worker, and the worker clears it
//! before it takes the tick's snapshot.

use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;
use pgrx::{ereport, pg_sys::elog::PgLogLevel};

use crate::shared::Shared;
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::procedure::{Caller, outside_transaction};
use pgq_pg::session::{self, Value};
use pgq_pg::{process, report};

/// How often to look when no worker runs here that would wake us: others may tick.
const POLL: Duration = Duration::from_millis(100);
/// How often to look although a worker runs, in case it is stuck.
const DOUBT: Duration = Duration::from_secs(10);

/// So many batches without events are finished in one transaction.
const SKIPPED_AT_ONCE: u32 = 100;

/// `pgq.wait_batch(i_queue_name, i_consumer_name, i_timeout, inout batch_id, i_skip_empty)`;
/// development versions declared it without the last.
pub(crate) fn wait_batch(call: &Call) -> Result<Returned, SqlError> {
    let (queue, consumer) = (call.string(0), call.string(1));
    let skip_empty = call.bool(4).unwrap_or(false);
    let limit = call.interval(2);
    let batch = batch(queue.as_deref(), consumer.as_deref(), limit, skip_empty, call.caller());
    Ok(Returned::Out(c"batch_id", batch))
}

/// Wait for the consumer's next batch: its id, or none when the time (microseconds; none: no limit)
/// is over.
///
/// With `skip_empty`, batches without events are finished on the way.
///
/// Raises 25001 where the transaction is not ours to end, 22004 for a name that is null, and
/// whatever `pgq.next_batch` raises.
fn batch(
    queue: Option<&str>,
    consumer: Option<&str>,
    limit: Option<i64>,
    skip_empty: bool,
    caller: Caller,
) -> Option<i64> {
    let (Some(queue), Some(consumer)) = (queue, consumer) else {
        raise(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "queue and consumer name must not be NULL",
            "",
        )
    };
    if limit.is_some_and(|limit| limit < 0) {
        raise(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "timeout must not be negative",
            "Zero looks once; NULL waits without limit.",
        )
    }
    if caller == Caller::Transaction {
        raise(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "pgq.wait_batch cannot run inside a transaction block or a function",
            "It waits outside of any transaction. Use autocommit, or pgq.next_batch.",
        )
    }
    let deadline = limit
        .and_then(|limit| Instant::now().checked_add(Duration::from_micros(limit.unsigned_abs())));
    let event = WaitEvent::named(c"PgqWaitBatch");
    let is_over =
        || limit == Some(0) || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let waiter = Waiter::new();
    let mut reasons = Reasons::begin(queue);
    let mut skipped = 0;
    loop {
        let queue_id = find_queue(queue);
        let seen = waiter.register(queue_id);
        if let Some(batch) = next_batch(queue, consumer) {
            if !skip_empty || has_events(batch) {
                return Some(batch);
            }
            // The row of the subscription is locked since it was opened: nobody else works on it.
            finish_batch(batch);
            skipped += 1;
            if skipped % SKIPPED_AT_ONCE == 0 {
                outside_transaction(caller, || ());
                process::check_interrupts_in_query();
                // Far behind, the time may be over before an event is found. Who looks once wants
                // to see one.
                if limit != Some(0) && is_over() {
                    return None;
                }
            }
            continue;
        }
        if is_over() {
            reasons.tell();
            return None;
        }
        if reasons.are_due() {
            reasons.tell();
        }
        waiter.ask_for_tick(queue_id);
        let until = earliest(deadline, reasons.due);
        outside_transaction(caller, || waiter.sleep(seen, until, event));
        // In a transaction again, where an error has its place.
        process::check_interrupts_in_query();
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

fn find_queue(name: &str) -> Option<i32> {
    session::query(
        "select queue_id from pgq.queue where queue_name operator(pg_catalog.=) $1",
        &[Value::Text(name)],
    )
    .into_iter()
    .flatten()
    .flatten()
    .find_map(|id| id.parse().ok())
}

fn next_batch(queue: &str, consumer: &str) -> Option<i64> {
    session::query("select pgq.next_batch($1, $2)", &[Value::Text(queue), Value::Text(consumer)])
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|id| id.parse().ok())
}

fn has_events(batch: i64) -> bool {
    let rows = session::query("select pgq._batch_has_events($1)", &[Value::Int8(batch)]);
    rows.into_iter().flatten().flatten().any(|answer| answer == "t")
}

fn finish_batch(batch: i64) {
    session::query("select pgq.finish_batch($1)", &[Value::Int8(batch)]);
}

/// Why nothing comes, for who waits. Told once: soon, if it is known then, or later.
struct Reasons<'a> {
    queue: &'a str,
    /// In microseconds since 1970.
    begin: i64,
    pause: Duration,
    /// When to look; none: they were told.
    due: Option<Instant>,
}

impl<'a> Reasons<'a> {
    const FIRST: Duration = Duration::from_secs(1);
    const QUERY: &'static str = "\
        select finding, remedy from pgq._why_no_batch($1, \
               pg_catalog.to_timestamp($2 operator(pg_catalog./) 1000000.0::pg_catalog.float8))";

    fn begin(queue: &'a str) -> Self {
        Self {
            queue,
            begin: process::timestamp().saturating_add(process::EPOCH * 1_000_000),
            pause: Self::FIRST,
            due: Instant::now().checked_add(Self::FIRST),
        }
    }

    fn are_due(&self) -> bool {
        self.due.is_some_and(|due| Instant::now() >= due)
    }

    fn tell(&mut self) {
        if self.due.is_none() {
            return;
        }
        let arguments = [Value::Text(self.queue), Value::Int8(self.begin)];
        let reasons = session::query(Self::QUERY, &arguments);
        self.pause *= 2;
        self.due = if reasons.is_empty() { Instant::now().checked_add(self.pause) } else { None };
        for reason in reasons {
            let mut columns = reason.into_iter().map(Option::unwrap_or_default);
            let (finding, remedy) = (columns.next(), columns.next());
            report::notice(&finding.unwrap_or_default(), &remedy.unwrap_or_default());
        }
    }
}

/// This backend's entry among the waiters. It is withdrawn with the value, also by an error, and
/// when the process ends.
struct Waiter {
    shared: Option<Shared>,
    number: Option<usize>,
    database: u32,
}

impl Waiter {
    fn new() -> Self {
        process::at_exit(withdraw);
        Self { shared: Shared::get(), number: latch::my_number(), database: process::my_database() }
    }

    /// Be woken from now on; how often that has happened so far.
    fn register(&self, queue: Option<i32>) -> u32 {
        let (Some(shared), Some(number), Some(queue)) = (self.shared, self.number, queue) else {
            return 0;
        };
        shared.begin_waiting(number, self.database, queue);
        shared.wakes(number)
    }

    /// If there are events that nobody has ticked, the worker may not have known that somebody
    /// waits for them.
    fn ask_for_tick(&self, queue: Option<i32>) {
        let (Some(shared), Some(queue)) = (self.shared, queue) else { return };
        if let Some(slot) = shared.database(self.database)
            && slot.is_dirty(queue)
        {
            slot.wake_worker();
        }
    }

    // Neither raises errors nor looks at interrupts: there may be no transaction.
    fn sleep(&self, seen: u32, until: Option<Instant>, event: WaitEvent) {
        let start = Instant::now();
        loop {
            let woken = match (self.shared, self.number) {
                (Some(shared), Some(number)) => shared.wakes(number) != seen,
                _ => false,
            };
            if woken || process::interrupt_is_pending() {
                return;
            }
            let end = start + if self.has_worker() { DOUBT } else { POLL };
            let end = until.map_or(end, |until| until.min(end));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if latch::sleep_beside_client(left, event) {
                process::note_lost_client();
            }
        }
    }

    fn has_worker(&self) -> bool {
        self.shared
            .and_then(|shared| shared.database(self.database))
            .is_some_and(|slot| slot.has_worker())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        withdraw();
    }
}

fn withdraw() {
    if let (Some(shared), Some(number)) = (Shared::get(), latch::my_number()) {
        shared.end_waiting(number);
    }
}

fn raise(code: PgSqlErrorCode, message: &'static str, hint: &str) -> ! {
    if hint.is_empty() {
        ereport!(PgLogLevel::ERROR, code, message);
    } else {
        pgrx::pg_sys::panic::ErrorReport::new(code, message, "pgq_wait_batch")
            .set_hint(hint)
            .report(PgLogLevel::ERROR);
    }
    unreachable!("an error was raised")
}
