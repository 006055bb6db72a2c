//! Relation invalidation: knowing that something cached about a relation may be stale.
//!
//! One counter for all watched relations. PostgreSQL calls back when it processes an invalidation,
//! which it does when a lock is taken, at the start of a statement and of a transaction; nothing
//! but flipping a number is safe there.

use std::cell::{Cell, RefCell};

use pgrx::{pg_guard, pg_sys};

thread_local! {
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    static WATCHED: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Changes whenever a watched relation has been invalidated since. What was cached under another
/// number is stale.
pub fn generation() -> u64 {
    GENERATION.get()
}

/// Watch one more relation.
pub fn watch(relation: pg_sys::Oid) {
    if !REGISTERED.replace(true) {
        // SAFETY: registers a static function for the life of the backend; ends in an error when
        // there is no room.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(on_invalidation), pg_sys::Datum::null())
        };
    }
    WATCHED.with_borrow_mut(|watched| {
        if !watched.contains(&relation) {
            watched.push(relation);
        }
    });
}

/// Forget all watched relations, because nothing is cached any more.
pub fn unwatch_all() {
    WATCHED.with_borrow_mut(Vec::clear);
}

/// Hear of what other sessions have committed since, in this statement already. PostgreSQL itself
/// listens when it takes a lock that the transaction does not have yet.
pub fn catch_up() {
    // SAFETY: inside a transaction, with no catalog or relation cache entry in the middle of being
    // built.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// Make every backend that watches the relation notice, this one at the end of the command, others
/// at commit.
pub fn invalidate(relation: pg_sys::Oid) {
    // SAFETY: looks the relation up in pg_class and queues a message; an error if there is no such
    // relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

#[pg_guard]
unsafe extern "C-unwind" fn on_invalidation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let relevant = relation == pg_sys::InvalidOid
        || WATCHED.with(|watched| match watched.try_borrow() {
            Ok(watched) => watched.contains(&relation),
            // In the middle of a change to the list: better once too often.
            Err(_) => true,
        });
    if relevant {
        GENERATION.set(GENERATION.get().wrapping_add(1));
    }
}
