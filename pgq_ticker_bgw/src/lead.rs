//! A consumer that waits may lay the tick that it waits for.
//!
//! Whoever commits events wakes one of those who wait for the queue. That one lays the tick in the
//! transaction in which it opens its batch, and its commit wakes the others: one process to wake
//! and one commit less than by the worker, which does the same where nobody can.
//!
//! A tick is laid under the queue's ticker lock, and a consumer may be anybody. So it may only do
//! so within `wait_batch`, which commits at once, and under conditions in which that commit waits
//! for no longer than the worker's would ([`permitted`]): for what the worker's commits wait for,
//! and with a client that could hold it up by no flood of messages that it does not read. It does
//! not wait for the lock, nor longer than the worker for any other. What it could not decide, be it
//! by an error or because it was ended, the worker decides: a mark that it took comes back when its
//! transaction does not commit.

use std::cell::Cell;
use std::ffi::CString;
use std::time::Duration;

use crate::shared::{Database, Shared};
use crate::{dirty, settings};
use pgq_pg::{guc, latch, process, xact};

thread_local! {
    static IS_PERMITTED: Cell<bool> = const { Cell::new(false) };
}

/// Run `body`, in which ticks may be laid if this session can do so at all.
pub(crate) fn permitted<T>(body: impl FnOnce() -> T) -> T {
    struct Withdraw;
    impl Drop for Withdraw {
        fn drop(&mut self) {
            IS_PERMITTED.set(false);
        }
    }
    let _withdraw = Withdraw;
    IS_PERMITTED.set(is_able());
    body()
}

/// True when this session can lay ticks while it waits.
pub(crate) fn is_able() -> bool {
    guc::is_quiet() && !xact::has_fixed_snapshot() && slot().is_some_and(commits_alone)
}

/// The commit waits for no standby: this session could give that up and leave a tick that no
/// standby has. The worker says so: a session that waits has read no change of the settings since.
fn commits_alone(slot: &Database) -> bool {
    slot.synchronous_commit().is_some()
}

/// True when events of the queue wait for a tick, as far as is known.
pub fn is_wanted(queue: i32) -> bool {
    slot().is_some_and(|slot| slot.is_dirty(queue))
}

/// True when the queue that this backend waits for is likely to want a tick that it may lay.
pub fn is_likely() -> bool {
    let queue = || Shared::get()?.queue_of_waiter(latch::my_number()?);
    IS_PERMITTED.get() && queue().is_some_and(is_wanted)
}

/// True within [`permitted`], where a worker runs: without one nobody ticks on demand. Not where
/// somebody waits for a queue of the same mark, which the worker sees.
pub fn is_allowed(queue: i32) -> bool {
    IS_PERMITTED.get()
        && slot().is_some_and(|slot| {
            slot.has_worker()
                && !slot.stop_is_asked()
                && commits_alone(slot)
                && !dirty::has_twin(slot, queue)
        })
}

/// This session is about to wait for something else: events that it was woken for, or has heard of,
/// are for the next one who can lay their tick, or for the worker. It must not count as one itself.
pub(crate) fn hand_on(queue: i32) {
    let own = process::my_database();
    if let (Some(shared), Some(slot)) = (Shared::get(), slot())
        && slot.is_dirty(queue)
        && !shared.nobody_waits()
        && !shared.wake_leader(own, queue)
    {
        slot.wake_worker();
    }
}

/// How many backends wait for the queue that this one waits for.
pub fn waiters() -> i64 {
    let count = || {
        let shared = Shared::get()?;
        let queue = shared.queue_of_waiter(latch::my_number()?)?;
        i64::try_from(shared.count_waiters(process::my_database(), queue).0).ok()
    };
    count().unwrap_or(0)
}

/// How old the newest tick has to be, in microseconds, when all of the queue's subscriptions wait
/// for it, or not all.
pub fn least_age(all_wait: bool) -> i64 {
    let least = settings::min_tick_interval().unwrap_or(match all_wait {
        true => Duration::ZERO,
        false => settings::ADAPTIVE_TICK_INTERVAL,
    });
    i64::try_from(least.as_micros()).unwrap_or(i64::MAX)
}

/// Decide about the queue's tick, in this transaction, which has its ticker lock. To be called
/// before the tick's snapshot is taken.
pub fn begin(queue: i32) {
    let Some(slot) = slot() else { return };
    let patience = settings::worker_lock_timeout();
    if guc::lock_timeout() == 0 || guc::lock_timeout() > patience {
        let patience = CString::new(patience.to_string()).unwrap_or_default();
        guc::set_for_transaction(c"lock_timeout", &patience);
    }
    if let Some(level) = slot.synchronous_commit()
        && level != guc::synchronous_commit()
    {
        guc::set_for_transaction(c"synchronous_commit", guc::name_of_synchronous_commit(level));
    }
    dirty::begin_tick(slot, queue);
}

/// True when this transaction has decided about a tick, or has begun to: it has the ticker lock.
pub(crate) fn has_begun() -> bool {
    dirty::has_begun_tick()
}

/// The subtransaction that was to decide has failed: leave it to the worker. False if none was.
pub(crate) fn give_up() -> bool {
    dirty::give_back()
}

/// Leave the decision to a later time, or to somebody else.
pub fn put_off(queue: i32) {
    if let Some(slot) = slot() {
        dirty::put_off_tick(slot, queue);
    }
}

/// The tick is laid.
pub fn laid(queue: i32) {
    dirty::note_tick(queue);
}

fn slot() -> Option<&'static Database> {
    Shared::get()?.database(process::my_database())
}
