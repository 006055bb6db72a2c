//! Knowing that something cached about a table or a function may be stale.
//!
//! A number per group of relations, and one for functions and roles. What was cached under another
//! number is stale. PostgreSQL calls back while it processes invalidations, when only flipping a
//! number is safe; there is no list of what is watched, so any number of tables costs the same.

use std::cell::Cell;

use pgrx::{pg_guard, pg_sys};

const GROUPS: usize = 256;

thread_local! {
    static RELATIONS: [Cell<u32>; GROUPS] = const { [const { Cell::new(0) }; GROUPS] };
    static FUNCTIONS: Cell<u64> = const { Cell::new(0) };
    static ROLES: Cell<u64> = const { Cell::new(0) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Number for a relation. Changes when the relation is altered, when its triggers or indexes
/// change, and when a schema is renamed; now and then for no reason.
pub fn of_relation(relation: pg_sys::Oid) -> u32 {
    register();
    RELATIONS.with(|groups| groups.get(group(relation)).map_or(0, Cell::get))
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
/// Nothing is raised once [`watch_roles`] was called.
pub(crate) fn of_roles() -> u64 {
    ROLES.get()
}

/// Hear of changes of roles from now on.
pub(crate) fn watch_roles() {
    register();
}

fn register() {
    if REGISTERED.get() {
        return;
    }
    let nothing = pg_sys::Datum::null();
    // SAFETY: registers a static function for the life of the backend; ends in an error when there
    // is no room.
    unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(on_relation), nothing) };
    for cache in [
        pg_sys::SysCacheIdentifier::PROCOID,
        pg_sys::SysCacheIdentifier::NAMESPACEOID,
        pg_sys::SysCacheIdentifier::AUTHOID,
        pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
    ] {
        let cache = i32::try_from(cache).unwrap_or(0);
        // SAFETY: as above.
        unsafe { pg_sys::CacheRegisterSyscacheCallback(cache, Some(on_catalog), nothing) };
    }
    REGISTERED.set(true);
}

fn group(relation: pg_sys::Oid) -> usize {
    usize::try_from(relation.to_u32()).unwrap_or(0) % GROUPS
}

fn bump_all_relations() {
    RELATIONS.with(|groups| {
        for group in groups {
            group.set(group.get().wrapping_add(1));
        }
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn on_relation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    if relation == pg_sys::InvalidOid {
        bump_all_relations();
    } else {
        RELATIONS.with(|groups| {
            if let Some(group) = groups.get(group(relation)) {
                group.set(group.get().wrapping_add(1));
            }
        });
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_catalog(_arg: pg_sys::Datum, cache: i32, _hash: u32) {
    FUNCTIONS.set(FUNCTIONS.get().wrapping_add(1));
    let cache = u32::try_from(cache).unwrap_or(u32::MAX);
    if [pg_sys::SysCacheIdentifier::AUTHOID, pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM]
        .contains(&cache)
    {
        ROLES.set(ROLES.get().wrapping_add(1));
    }
    // Renaming a schema does not touch the relations in it.
    if cache == pg_sys::SysCacheIdentifier::NAMESPACEOID {
        bump_all_relations();
    }
}
