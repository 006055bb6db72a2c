//! Which queues the current transaction has put events into.
//!
//! The marks are the session's own until the transaction commits. Rolling back to a savepoint keeps them, so a wake-up may be
//! spurious; it is never lost.

use std::cell::RefCell;

use crate::pg::xact::{self, AtEnd};

thread_local! {
    static MARKED: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// Note that the current transaction has put an event into a queue; the worker hears of it when the transaction commits.
///
/// Cheap enough to call for every event. Without the library in `shared_preload_libraries` nobody listens, and it does nothing.
pub fn mark_dirty(queue_id: i32) {
    MARKED.with_borrow_mut(|marked| {
        // A transaction fills one queue, or few: the one it filled last is nearly always this one.
        if marked.last() == Some(&queue_id) || marked.contains(&queue_id) {
            return;
        }
        if marked.is_empty() {
            xact::register(&Marks);
        }
        marked.push(queue_id);
    });
}

struct Marks;

impl AtEnd for Marks {
    fn committed(&self) {
        MARKED.with_borrow_mut(Vec::clear);
    }

    fn aborted(&self) {
        MARKED.with_borrow_mut(Vec::clear);
    }

    fn prepared(&self) {
        MARKED.with_borrow_mut(Vec::clear);
    }
}
