//! Knowing that something cached about a table, a function or a role may be stale.
//!
//! Numbers change with what they stand for; what was cached under another number is stale.
//! PostgreSQL calls back when it processes an invalidation, which it does when a lock is taken, at
//! the start of a statement and of a transaction. Nothing but flipping a number is safe there.
//!
//! Relations have a number per group, without a list of what is watched, so any number of tables
//! costs the same. What must not be looked at again for no reason is put on a list ([`watch`]), and
//! has one number for all of it ([`generation`]).

use std::cell::{Cell, RefCell};

use pgrx::{pg_guard, pg_sys};

use super::constants;

const GROUPS: u32 = 256;

#[expect(clippy::as_conversions, reason = "256 fits")]
const GROUP_COUNT: usize = GROUPS as usize;

thread_local! {
    static RELATIONS: [Cell<u32>; GROUP_COUNT] = const { [const { Cell::new(0) }; GROUP_COUNT] };
    static FUNCTIONS: Cell<u64> = const { Cell::new(0) };
    static ROLES: Cell<u64> = const { Cell::new(0) };
    static GENERATION: Cell<u64> = const { Cell::new(0) };
    static WATCHED: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Number for a relation. Changes when the relation is altered, when its triggers or indexes
/// change, and when a schema is renamed; now and then for no reason.
pub fn of_relation(relation: pg_sys::Oid) -> u32 {
    register();
    RELATIONS.with(|groups| groups[group(relation)].get())
}

/// Number for functions, and for who may call them: changes with pg_proc, schemas, roles and
/// memberships.
pub fn of_functions() -> u64 {
    register();
    FUNCTIONS.get()
}

/// Number for roles and memberships. What somebody may do with a relation can change with it, and
/// with the relation.
///
/// Nothing is raised once [`register`] was called.
#[inline]
pub(crate) fn of_roles() -> u64 {
    ROLES.get()
}

/// Changes whenever a relation on the list has been invalidated since.
#[inline]
pub fn generation() -> u64 {
    GENERATION.get()
}

/// Put one more relation on the list.
pub fn watch(relation: pg_sys::Oid) {
    register();
    WATCHED.with_borrow_mut(|watched| {
        if !watched.contains(&relation) {
            watched.push(relation);
        }
    });
}

/// Empty the list, because nothing is cached any more.
pub fn unwatch_all() {
    WATCHED.with_borrow_mut(Vec::clear);
}

/// Hear of what other sessions have committed since, in this statement already. PostgreSQL itself
/// listens when it takes a lock that the transaction does not have yet.
#[inline]
pub fn catch_up() {
    // SAFETY: inside a transaction, with no catalog or relation cache entry in the middle of being
    // built.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}

/// Make every backend that knows the relation notice, this one at the end of the command, others
/// at commit.
pub fn invalidate(relation: pg_sys::Oid) {
    // SAFETY: looks the relation up in pg_class and queues a message; an error if there is no such
    // relation.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// Hear of changes from now on.
#[inline]
pub(crate) fn register() {
    if !REGISTERED.get() {
        register_callbacks();
    }
}

#[cold]
fn register_callbacks() {
    let nothing = pg_sys::Datum::null();
    // SAFETY: registers a static function for the life of the backend; ends in an error when there
    // is no room.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), nothing) };
    for cache in [
        constants::cache::FUNCTION,
        constants::cache::SCHEMA,
        constants::cache::ROLE,
        constants::cache::MEMBERSHIP,
    ] {
        // SAFETY: as above.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache, Some(on_catalog), nothing) };
    }
    REGISTERED.set(true);
}

#[expect(clippy::as_conversions, reason = "below 256")]
fn group(relation: pg_sys::Oid) -> usize {
    (relation.to_u32() % GROUPS) as usize
}

fn bump<T: Copy>(number: &Cell<T>, next: impl FnOnce(T) -> T) {
    number.set(next(number.get()));
}

fn bump_all_relations() {
    RELATIONS.with(|groups| groups.iter().for_each(|group| bump(group, |n| n.wrapping_add(1))));
}

#[pg_guard]
unsafe extern "C-unwind" fn on_relation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    let is_any = relation == pg_sys::InvalidOid;
    if is_any {
        bump_all_relations();
    } else {
        RELATIONS.with(|groups| bump(&groups[group(relation)], |n| n.wrapping_add(1)));
    }
    let is_watched = || {
        WATCHED.with(|watched| match watched.try_borrow() {
            Ok(watched) => watched.contains(&relation),
            // In the middle of a change to the list: better once too often.
            Err(_) => true,
        })
    };
    if is_any || is_watched() {
        GENERATION.with(|number| bump(number, |n| n.wrapping_add(1)));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_catalog(_arg: pg_sys::Datum, cache: i32, _hash: u32) {
    FUNCTIONS.with(|number| bump(number, |n| n.wrapping_add(1)));
    if [constants::cache::ROLE, constants::cache::MEMBERSHIP].contains(&cache) {
        ROLES.with(|number| bump(number, |n| n.wrapping_add(1)));
    }
    // Renaming a schema does not touch the relations in it.
    if cache == constants::cache::SCHEMA {
        bump_all_relations();
    }
}
