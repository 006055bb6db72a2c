//! `pgq.wait_batch`: a consumer sleeps until there is a batch for it.
//!
//! No wake-up is lost, whatever the order of things: the waiter registers, notes how often it has
//! been woken, looks for a batch, and sleeps only if it has not been woken since. An event that
//! nobody has ticked yet has its queue's bit set; the waiter looks at the bit after it has
//! registered, the committing backend sets it before it wakes somebody, and who lays the tick, be
//! it a waiter or the worker, clears it before the tick's snapshot is taken.

mod look;
mod reasons;
mod tick;
mod waiter;

use std::time::{Duration, Instant};

use pgrx::PgSqlErrorCode;
use pgrx::{ereport, pg_sys::elog::PgLogLevel};

use self::look::{Look, Session};
use self::reasons::Reasons;
pub(crate) use self::tick::wait_tick;
use self::waiter::Waiter;
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::latch::WaitEvent;
use pgq_pg::procedure::Caller;
use pgq_pg::session::{self, Value};

/// What a session that sleeps does for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Nothing,
    /// It may be woken to lay a tick.
    ToBeWoken,
    /// So, and if one is wanted by now it does not fall asleep.
    ToBeAsked,
}

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
    let mut session = Session::new(caller, limit != Some(0));
    let mut skipped = 0;
    let mut queue_id = find_queue(queue);
    let mut doubted = None;
    loop {
        let seen = waiter.register(queue_id);
        if queue_id != doubted {
            waiter.doubt(queue_id);
            doubted = queue_id;
        }
        let hand_on = || waiter.hand_on(queue_id);
        // When to look again, and whether others may count on this session meanwhile.
        let (pause, offer) = match session.look(queue, consumer, skip_empty, hand_on) {
            Look::Batch(id) => return Some(id),
            Look::Empty => {
                skipped += 1;
                if skipped % SKIPPED_AT_ONCE == 0 {
                    session.pause(|| ());
                    // Far behind, the time may be over before an event is found. Who looks once
                    // wants to see one.
                    if limit != Some(0) && is_over() {
                        return None;
                    }
                }
                continue;
            }
            Look::Nothing => (None, Offer::ToBeAsked),
            Look::Later(pause) => (Instant::now().checked_add(pause), Offer::ToBeWoken),
            Look::Worker if session.is_older() => {
                session.pause(|| ());
                continue;
            }
            Look::Worker | Look::Asked => {
                waiter.ask_for_tick(queue_id);
                (None, Offer::Nothing)
            }
        };
        let is_over = is_over();
        if is_over || reasons.are_due() {
            hand_on();
            reasons.tell();
        }
        if is_over {
            return None;
        }
        let until = earliest(earliest(deadline, reasons.due), pause);
        let offer = if session.can_lead() { offer } else { Offer::Nothing };
        session.pause(|| {
            let is_free = offer == Offer::Nothing || waiter.offer(queue_id);
            if is_free || offer == Offer::ToBeWoken {
                waiter.sleep(seen, until, event);
            }
            // Awake: it may be held up from here on.
            waiter.register(queue_id);
        });
        // Who is woken is woken for this queue. Another one of that name wakes nobody yet.
        if !waiter.is_woken(seen) {
            queue_id = find_queue(queue);
        }
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
