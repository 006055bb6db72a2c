//! Hearing of changes.

use std::time::Duration;

use pgq_pg::remote::Connection;
use pgq_pg::{always_trigger, catalog, piece, watch};
use pgrx::pg_test;

use crate::piece::{done, transaction};
use crate::table::{self, run};
use crate::{copy, scenario};

/// What the tests below run in workers.
pub(crate) const SCENARIOS: &[fn()] = &[hears];

/// A worker has no statements of a client, in which others' changes would be heard of.
fn hears() {
    const PATIENCE: Duration = Duration::from_secs(60);
    transaction("drop table if exists public.heard; create table public.heard ()");
    done(piece::begin());
    let table = done(piece::attempt(|| catalog::relation_oid(c"public", c"heard")));
    watch::watch(table.expect("made above"));
    let other = Connection::open_within(&copy::location(), "fence", PATIENCE);
    let other = other.expect("it answers");
    done(piece::commit());
    let next = || {
        done(piece::begin());
        done(piece::commit());
        watch::generation()
    };
    let before = next();
    assert_eq!(next(), before);
    other.run("alter table public.heard add i integer", PATIENCE).expect("it runs");
    assert_ne!(next(), before);
    let before = next();
    let sql = "begin; alter table public.heard add j integer; rollback";
    other.run(sql, PATIENCE).expect("they run");
    assert_eq!(next(), before);
}

#[pg_test]
fn a_worker_hears_of_what_others_have_changed_at_its_next_transaction() {
    scenario::run(hears);
}

#[pg_test]
fn a_watched_table_that_changes_makes_a_new_generation_and_another_one_does_not() {
    let table = table::create("create table public.other (i integer)");
    watch::watch(table);
    let (generation, number) = (watch::generation(), watch::of_relation(table));
    run("alter table public.other add j integer");
    assert_eq!(watch::generation(), generation);
    run("create index on public.t (kind)");
    assert_ne!(watch::generation(), generation);
    assert_ne!(watch::of_relation(table), number);
    watch::unwatch_all();
    let generation = watch::generation();
    run("alter table public.t add more integer");
    assert_eq!(watch::generation(), generation);
}

#[pg_test]
fn an_invalidation_that_is_asked_for_is_heard_at_the_end_of_the_command() {
    let table = table::create("");
    watch::watch(table);
    let generation = watch::generation();
    watch::invalidate(table);
    assert_eq!(watch::generation(), generation);
    run("select 1");
    assert_ne!(watch::generation(), generation);
}

#[pg_test]
fn functions_roles_and_schemas_have_their_numbers() {
    let table = table::create("");
    let (functions, relation) = (watch::of_functions(), watch::of_relation(table));
    run("create function public.f() returns void language sql as ''");
    let after = watch::of_functions();
    assert_ne!(after, functions);
    run("create role fence_role");
    assert_ne!(watch::of_functions(), after);
    let before = watch::of_relation(table);
    assert_eq!(before, relation);
    run("alter schema public rename to renamed");
    assert_ne!(watch::of_relation(table), before, "names of relations in it have changed");
}

#[pg_test]
fn triggers_tell_of_every_change_only_when_they_always_fire_per_row_and_at_truncate() {
    let entry = pgq_pg::entry_of!(fence_echo);
    let table = table::create(
        "create function public.echo() returns trigger language c \
         as 'pgq_pg_tests', 'fence_echo'",
    );
    let reports = || always_trigger::reports_all(table, entry);
    run("create trigger r after insert or update or delete on public.t \
         for each row execute function public.echo()");
    assert!(!reports());
    run("create trigger s after truncate on public.t execute function public.echo()");
    assert!(!reports());
    run("alter table public.t enable always trigger r; \
         alter table public.t enable always trigger s");
    assert!(reports());
    run("alter table public.t disable trigger r");
    assert!(!reports());
}

#[pg_test]
fn names_kinds_and_inheritance_are_looked_up() {
    let table = table::create("create table public.child () inherits (public.t)");
    let child = catalog::relation_oid(c"public", c"child").expect("made above");
    assert!(catalog::inherits(child, table) && !catalog::inherits(table, child));
    assert_eq!(catalog::relation_kind(table), Some(b'r'));
    assert_eq!(catalog::relation_oid(c"public", c"no such"), None);
    run("create table public.\"Two Words\" ()");
    let quoted = catalog::relation_oid(c"public", c"Two Words").expect("made above");
    assert_eq!(catalog::quoted_name(quoted), "public.\"Two Words\"");
    assert!(catalog::relation_owner(table).is_some_and(catalog::is_superuser));
}
