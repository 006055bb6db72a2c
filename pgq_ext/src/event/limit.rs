//! The limit of events per transaction (`queue_per_tx_limit`).
//!
//! Counts attempts of the top-level transaction, also those a savepoint took back, as PgQ 3.5 does.
//! The count starts again when the transaction or the queue's current table changes.

use std::cell::RefCell;
use std::collections::HashMap;

#[derive(Clone, Copy)]
struct Count {
    xid: i64,
    table: i32,
    events: i64,
}

thread_local! {
    static COUNTS: RefCell<HashMap<i32, Count>> = RefCell::new(HashMap::new());
}

/// Count `events` more of the queue in transaction `xid`; true while that is within the limit.
pub(super) fn admits(queue: i32, table: i32, xid: i64, limit: Option<i32>, events: usize) -> bool {
    let Some(limit) = limit.filter(|limit| *limit >= 0) else { return true };
    let total = COUNTS.with_borrow_mut(|counts| {
        let fresh = Count { xid, table, events: 0 };
        let count = counts.entry(queue).or_insert(fresh);
        if (count.xid, count.table) != (xid, table) {
            *count = fresh;
        }
        count.events = count.events.saturating_add(i64::try_from(events).unwrap_or(i64::MAX));
        count.events
    });
    total <= i64::from(limit)
}
