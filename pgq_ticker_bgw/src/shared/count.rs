//! How many processes of a kind there are.

use std::sync::atomic::{AtomicI32, Ordering};

use pgq_pg::shareable;

shareable! {
    /// Processes that run: each counts itself.
    pub(crate) struct Count {
        running: AtomicI32,
    }
}

impl Count {
    pub(super) const fn new() -> Self {
        Self { running: AtomicI32::new(0) }
    }

    /// Are there so many already?
    pub(crate) fn is_full(&self, limit: i32) -> bool {
        self.running.load(Ordering::SeqCst) >= limit
    }

    /// Count one more; false when there are so many already.
    pub(crate) fn take(&self, limit: i32) -> bool {
        let more = |running: i32| (running < limit).then_some(running + 1);
        self.running.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Count one less.
    pub(crate) fn leave(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}
