//! What the current transaction has to tell the worker, and who waits, when it commits.
//!
//! The marks are the session's own until then. Rolling back to a savepoint keeps them, so a wake-up
//! may be spurious; it is never lost. A prepared transaction keeps nothing: whoever commits it
//! makes the worker look at every queue somebody waits for ([`after_commit_prepared`]), which also
//! holds after a restart of the server in between.

use std::cell::{Cell, RefCell};

use crate::shared::{Database, Shared};
use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::commit::{self, AtEnd};
use pgq_pg::process;

thread_local! {
    static MARKED: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
    static TICKED: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
    /// Queues whose bit this transaction has taken to lay their tick; whether it has laid one.
    static LED: RefCell<Vec<(i32, bool)>> = const { RefCell::new(Vec::new()) };
    static ANNOUNCED: Cell<bool> = const { Cell::new(false) };
    static WORKERS: Cell<bool> = const { Cell::new(false) };
    static DELAYED: Cell<bool> = const { Cell::new(false) };
}

/// Note that the current transaction has put an event into a queue; the worker hears of it when the
/// transaction commits.
///
/// Cheap enough to call for every event. Without the library in `shared_preload_libraries` nobody
/// listens, and it does nothing.
pub fn mark_dirty(queue_id: i32) {
    MARKED.with_borrow_mut(|marked| {
        // A transaction fills one queue, or few: the one it filled last is nearly always this one.
        if marked.last() == Some(&queue_id) || marked.contains(&queue_id) {
            return;
        }
        if marked.is_empty() {
            commit::register(&Marks);
        }
        marked.push(queue_id);
    });
}

/// `pgq._mark_dirty(queue_id)`.
pub(crate) fn mark_dirty_function(call: &Call) -> Result<Returned, SqlError> {
    if let Some(queue) = call.int4(0) {
        mark_dirty(queue);
    }
    Ok(Returned::Done)
}

/// `pgq._wake_waiters(queue_id)`: note that the current transaction has laid a tick that no worker
/// here decides on. Who waits for the queue looks when it has committed.
pub(crate) fn wake_waiters_function(call: &Call) -> Result<Returned, SqlError> {
    if let Some(queue) = call.int4(0) {
        commit::register(&Marks);
        TICKED.with_borrow_mut(|ticked| {
            if !ticked.contains(&queue) {
                ticked.push(queue);
            }
        });
    }
    Ok(Returned::Done)
}

/// The current transaction decides about the queue's tick, as the worker would: what is committed
/// from now on is marked anew. Unless it commits, all of it is for somebody else to decide.
pub(crate) fn begin_tick(database: &Database, queue: i32) {
    commit::register(&Marks);
    LED.with_borrow_mut(|led| led.push((queue, false)));
    database.clear_dirty(queue);
    // Looked at once more after the mark is gone: who begins to wait later marks its queue itself.
    if has_twin(database, queue) {
        database.mark_dirty(queue);
        database.wake_worker();
    }
}

/// True when somebody waits for another queue of the same mark.
pub(crate) fn has_twin(database: &Database, queue: i32) -> bool {
    let Some(shared) = Shared::get() else { return false };
    let waited = shared.waited_queues(process::my_database());
    waited.into_iter().any(|other| other != queue && database.share_mark(queue, other))
}

/// It does not decide, though: the queue is marked again.
pub(crate) fn put_off_tick(database: &Database, queue: i32) {
    database.mark_dirty(queue);
}

/// True when the current transaction has begun to decide about a tick.
pub(crate) fn has_begun_tick() -> bool {
    LED.with_borrow(|led| !led.is_empty())
}

/// It has laid a tick. Who waits for the queue looks when it has committed.
pub(crate) fn note_tick(queue: i32) {
    LED.with_borrow_mut(|led| {
        led.iter_mut().filter(|(led, _)| *led == queue).for_each(|(_, laid)| *laid = true);
    });
}

/// `pgq._announce()`: note that the current transaction has created the extension in this database.
pub(crate) fn announce(_call: &Call) -> Result<Returned, SqlError> {
    commit::register(&Marks);
    ANNOUNCED.set(true);
    Ok(Returned::Done)
}

/// `londiste._workers_changed()`, a trigger: note that the current transaction has changed which
/// workers of replication this database has.
pub(crate) fn workers_changed(_call: &Call) -> Result<Returned, SqlError> {
    commit::register(&Marks);
    WORKERS.set(true);
    Ok(Returned::Done)
}

/// `pgq._delayed_changed()`: note that the current transaction has stored a delayed event.
pub(crate) fn delayed_changed(_call: &Call) -> Result<Returned, SqlError> {
    commit::register(&Marks);
    DELAYED.set(true);
    Ok(Returned::Done)
}

/// A prepared transaction was committed by this session. What it had put where is not known here:
/// any queue may have events, or a tick.
pub(crate) fn after_commit_prepared() {
    let own = process::my_database();
    let Some(shared) = Shared::get() else { return };
    if let Some(database) = shared.database(own) {
        database.mark_all_dirty();
        database.mark_wishes_changed();
        database.mark_delayed_changed();
        database.wake_worker();
    }
    shared.wake_waiters(own, None);
}

struct Marks;

impl AtEnd for Marks {
    fn committed(&self) {
        let marked = MARKED.with_borrow(|marked| !marked.is_empty());
        let ticked = TICKED.with_borrow(|ticked| !ticked.is_empty());
        let led = LED.with_borrow(|led| !led.is_empty());
        let announced = ANNOUNCED.take();
        let workers = WORKERS.take();
        let delayed = DELAYED.take();
        if !marked && !ticked && !led && !announced && !workers && !delayed {
            return;
        }
        if let Some(shared) = Shared::get() {
            let own = process::my_database();
            if announced {
                shared.announce(own);
            }
            if let Some(database) = shared.database(own) {
                publish(&shared, own, database);
                tell_of_ticks(&shared, own, database);
                if delayed && database.mark_delayed_changed() {
                    database.wake_worker();
                }
                if workers {
                    database.mark_wishes_changed();
                    database.wake_worker();
                }
            }
            TICKED.with_borrow(|ticked| {
                for &queue in ticked {
                    shared.wake_waiters(own, Some(queue));
                }
            });
        }
        forget();
    }

    fn aborted(&self) {
        give_back();
        forget();
    }

    fn prepared(&self) {
        give_back();
        forget();
    }
}

// A queue's bit stays until somebody decides about a tick. So only the first commit after that has
// to wake somebody: one of those who wait, or the worker. Where nobody waits the worker looks at
// its own time.
fn publish(shared: &Shared, own: u32, database: &Database) {
    let mut news = false;
    MARKED.with_borrow(|marked| {
        for &queue in marked {
            news |= database.mark_dirty(queue)
                && !shared.nobody_waits()
                && !shared.wake_leader(own, queue);
        }
    });
    if news {
        database.wake_worker();
    }
}

fn tell_of_ticks(shared: &Shared, own: u32, database: &Database) {
    LED.with_borrow(|led| {
        for &(queue, _) in led.iter().filter(|(_, is_laid)| *is_laid) {
            database.count_demand_tick(process::timestamp());
            shared.wake_waiters(own, Some(queue));
        }
    });
}

/// What this transaction would have decided is for the worker to decide; false if that is nothing.
pub(crate) fn give_back() -> bool {
    let led = LED.take();
    let slot = Shared::get().and_then(|shared| shared.database(process::my_database()));
    if let (Some(database), false) = (slot, led.is_empty()) {
        for &(queue, _) in &led {
            database.mark_dirty(queue);
        }
        database.wake_worker();
    }
    !led.is_empty()
}

fn forget() {
    MARKED.with_borrow_mut(Vec::clear);
    TICKED.with_borrow_mut(Vec::clear);
    LED.with_borrow_mut(Vec::clear);
    ANNOUNCED.set(false);
    WORKERS.set(false);
    DELAYED.set(false);
}
