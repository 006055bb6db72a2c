//! Hearing of changes.

use pgq_pg::{always_trigger, catalog, watch};
use pgrx::pg_test;

use crate::table::{self, run};

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
