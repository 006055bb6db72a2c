//! This backend among those who wait.

use std::time::{Duration, Instant};

use crate::lead;
use crate::shared::Shared;
use pgq_pg::latch::{self, WaitEvent};
use pgq_pg::process;

/// How often to look when no worker runs here that would wake us: others may tick.
const POLL: Duration = Duration::from_millis(100);
/// How often to look although a worker runs, in case it is stuck.
const DOUBT: Duration = Duration::from_secs(10);

/// This backend's entry among the waiters. It is withdrawn with the value, also by an error, and
/// when the process ends.
pub(super) struct Waiter {
    shared: Option<Shared>,
    number: Option<usize>,
    database: u32,
}

impl Waiter {
    pub(super) fn new() -> Self {
        process::at_exit(withdraw);
        Self { shared: Shared::get(), number: latch::my_number(), database: process::my_database() }
    }

    /// Be woken from now on; how often that has happened so far. Who is awake is not woken to lay a
    /// tick: it may wait for something else first.
    pub(super) fn register(&self, queue: Option<i32>) -> u32 {
        let (Some(shared), Some(number), Some(queue)) = (self.shared, self.number, queue) else {
            return 0;
        };
        shared.begin_waiting(number, self.database, queue, false);
        shared.wakes(number)
    }

    /// Have the queue looked at where a missing mark does not tell that it has no events. Once
    /// registered, whoever takes the mark for another queue sees that somebody waits for this one.
    pub(super) fn doubt(&self, queue: Option<i32>) {
        if let (Some(shared), Some(queue)) = (self.shared, queue)
            && let Some(slot) = shared.database(self.database)
            && slot.may_hide(queue)
        {
            slot.mark_dirty(queue);
        }
    }

    /// From here on it does nothing but sleep, and may be woken to lay a tick. False when it is
    /// wanted for one already.
    pub(super) fn offer(&self, queue: Option<i32>) -> bool {
        let (Some(shared), Some(number), Some(queue)) = (self.shared, self.number, queue) else {
            return true;
        };
        shared.begin_waiting(number, self.database, queue, true);
        !lead::is_wanted(queue)
    }

    /// It is about to wait for something else than a batch.
    pub(super) fn hand_on(&self, queue: Option<i32>) {
        if let Some(queue) = queue {
            lead::hand_on(queue);
        }
    }

    /// If there are events that nobody has ticked, the worker may not have known that somebody
    /// waits for them.
    pub(super) fn ask_for_tick(&self, queue: Option<i32>) {
        let (Some(shared), Some(queue)) = (self.shared, queue) else { return };
        if let Some(slot) = shared.database(self.database)
            && slot.is_dirty(queue)
        {
            slot.wake_worker();
        }
    }

    /// True when it was woken since.
    pub(super) fn is_woken(&self, seen: u32) -> bool {
        match (self.shared, self.number) {
            (Some(shared), Some(number)) => shared.wakes(number) != seen,
            _ => false,
        }
    }

    // Neither raises errors nor looks at interrupts: there may be no transaction.
    pub(super) fn sleep(&self, seen: u32, until: Option<Instant>, event: WaitEvent) {
        let start = Instant::now();
        loop {
            if self.is_woken(seen) || process::interrupt_is_pending() {
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

// Events that this one was woken for, or waited to lay a tick for, are for the next.
fn withdraw() {
    let (Some(shared), Some(number)) = (Shared::get(), latch::my_number()) else { return };
    let Some(queue) = shared.queue_of_waiter(number) else { return };
    shared.end_waiting(number);
    lead::hand_on(queue);
}
