//! Backends that wait for a batch: who waits for which queue, and their wake-ups.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use pgq_pg::{latch, shareable};

use super::Shared;

shareable! {
    /// A backend in `wait_batch`.
    #[repr(align(64))]
    pub(super) struct Waiter {
        /// Oid of its database; 0: it does not wait.
        database: AtomicU32,
        queue: AtomicI32,
        /// Grows with every wake-up, so that one that comes between check and sleep is seen.
        wakes: AtomicU32,
    }
}

impl Shared {
    /// Ids of the database's queues that somebody waits for, each once.
    pub(crate) fn waited_queues(&self, oid: u32) -> Vec<i32> {
        if self.header.waiting.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut queues: Vec<i32> = self
            .waiters
            .iter()
            .filter(|waiter| waiter.database.load(Ordering::SeqCst) == oid)
            .map(|waiter| waiter.queue.load(Ordering::SeqCst))
            .collect();
        queues.sort_unstable();
        queues.dedup();
        queues
    }

    /// Wake the backends of the database that wait for the queue, or (`None`) for any.
    pub(crate) fn wake_waiters(&self, oid: u32, queue: Option<i32>) {
        if self.header.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        for (number, waiter) in self.waiters.iter().enumerate() {
            if waiter.database.load(Ordering::SeqCst) == oid
                && queue.is_none_or(|queue| waiter.queue.load(Ordering::SeqCst) == queue)
            {
                waiter.wakes.fetch_add(1, Ordering::SeqCst);
                latch::wake(number);
            }
        }
    }

    /// How many backends of the database wait for the queue, and how often these have been woken,
    /// whatever they waited for.
    pub(crate) fn count_waiters(&self, oid: u32, queue: i32) -> (usize, i64) {
        self.waiters
            .iter()
            .filter(|waiter| {
                waiter.database.load(Ordering::SeqCst) == oid
                    && waiter.queue.load(Ordering::SeqCst) == queue
            })
            .fold((0, 0), |(count, wakes), waiter| {
                (count + 1, wakes + i64::from(waiter.wakes.load(Ordering::SeqCst)))
            })
    }

    /// Say that the backend with this number waits for a queue.
    pub(crate) fn begin_waiting(&self, number: usize, oid: u32, queue: i32) {
        let Some(waiter) = self.waiters.get(number) else { return };
        waiter.queue.store(queue, Ordering::SeqCst);
        if waiter.database.swap(oid, Ordering::SeqCst) == 0 {
            self.header.waiting.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Say that it waits no more.
    pub(crate) fn end_waiting(&self, number: usize) {
        let Some(waiter) = self.waiters.get(number) else { return };
        if waiter.database.swap(0, Ordering::SeqCst) != 0 {
            self.header.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// How often it was woken so far.
    pub(crate) fn wakes(&self, number: usize) -> u32 {
        self.waiters.get(number).map_or(0, |waiter| waiter.wakes.load(Ordering::SeqCst))
    }
}
