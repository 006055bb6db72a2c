//! Processes that this one has started.

use std::cell::RefCell;
use std::collections::BTreeMap;

use pgq_pg::process::{self, Kind, Started};

use super::order::Order;

thread_local! {
    /// By the number that tells them apart: of a worker, or of a table.
    static CHILDREN: RefCell<BTreeMap<i32, Started>> = const { RefCell::new(BTreeMap::new()) };
}

/// Start one; false when the server has no process for it, or the number is none.
pub(super) fn start(kind: Kind, title: &str, number: i32, order: Order) -> bool {
    let Ok(argument) = usize::try_from(number) else { return false };
    let started = process::start_dynamic(kind, title, argument, &order.to_bytes());
    let is_started = started.is_some();
    if let Some(started) = started {
        CHILDREN.with_borrow_mut(|children| children.insert(number, started));
    }
    is_started
}

/// Is it there? What has ended is forgotten.
pub(super) fn is_running(number: i32) -> bool {
    CHILDREN.with_borrow_mut(|children| {
        let Some(child) = children.get(&number) else { return false };
        if child.has_ended() {
            children.remove(&number);
            return false;
        }
        true
    })
}

/// Have it end.
pub(super) fn end(number: i32) {
    CHILDREN.with_borrow(|children| {
        if let Some(child) = children.get(&number) {
            child.terminate();
        }
    });
}

/// Have all end.
pub(super) fn end_all() {
    CHILDREN.with_borrow(|children| children.values().for_each(Started::terminate));
}
