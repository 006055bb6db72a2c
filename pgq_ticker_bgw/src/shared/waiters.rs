//! Backends that wait for a batch: who waits for which queue, and their wake-ups.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

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
        /// It can lay the tick that it waits for, see [`crate::lead`].
        can_lead: AtomicBool,
    }
}

impl Shared {
    /// Ids of the database's queues that somebody waits for, each once.
    pub(crate) fn waited_queues(&self, oid: u32) -> Vec<i32> {
        if self.nobody_waits() {
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
        if self.nobody_waits() {
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

    /// True when no backend of the server waits.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.header.waiting.load(Ordering::SeqCst) == 0
    }

    /// Wake one backend of the database that waits for the queue and can lay its tick; false when
    /// there is none.
    pub(crate) fn wake_leader(&self, oid: u32, queue: i32) -> bool {
        let leader = self.waiters.iter().enumerate().find(|(_, waiter)| {
            waiter.database.load(Ordering::SeqCst) == oid
                && waiter.queue.load(Ordering::SeqCst) == queue
                && waiter.can_lead.load(Ordering::SeqCst)
        });
        if let Some((number, waiter)) = leader {
            waiter.wakes.fetch_add(1, Ordering::SeqCst);
            latch::wake(number);
        }
        leader.is_some()
    }

    /// The queue that the backend with this number waits for.
    pub(crate) fn queue_of_waiter(&self, number: usize) -> Option<i32> {
        let waiter = self.waiters.get(number)?;
        let waits = waiter.database.load(Ordering::SeqCst) != 0;
        waits.then(|| waiter.queue.load(Ordering::SeqCst))
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

    /// Say that the backend with this number waits for a queue, and whether it can lay its tick.
    pub(crate) fn begin_waiting(&self, number: usize, oid: u32, queue: i32, can_lead: bool) {
        let Some(waiter) = self.waiters.get(number) else { return };
        waiter.can_lead.store(can_lead, Ordering::SeqCst);
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
