//! Storing rows without the executor.

use pgq_pg::heap::WritableTable;
use pgq_pg::hot::{self, Target};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgq_pg::{catalog, watch};
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys, pg_test};

use crate::table::{self, COLUMNS, number, run, text};

fn is_plain(more: &str) -> bool {
    let table = WritableTable::open(table::create(more)).expect("it exists");
    let is_plain = table.plain(&COLUMNS, &[0]).is_some();
    drop(table);
    run("drop table public.t cascade");
    is_plain
}

#[pg_test]
fn only_a_table_where_insert_just_stores_the_row_is_plain() {
    assert!(is_plain(""));
    assert!(is_plain("create index on public.t (kind, body)"));
    for more in [
        "alter table public.t add check (id > 0)",
        "alter table public.t alter kind set not null",
        "alter table public.t drop column kind",
        "alter table public.t add more integer",
        "alter table public.t enable row level security",
        "alter table public.t add g integer generated always as (1) stored",
        "create unique index on public.t (id)",
        "create index on public.t (abs(id))",
        "create index on public.t (id) where id > 0",
        "create index on public.t using hash (id)",
        "create rule r as on insert to public.t do also select 1",
        "create function f() returns trigger language plpgsql as 'begin return new; end'; \
         create trigger t before insert on public.t for each row execute function f()",
    ] {
        assert!(!is_plain(more), "{more}");
    }
}

#[pg_test]
fn many_rows_are_stored_with_their_index_entries_across_chunks() {
    let table = WritableTable::open(table::create("")).expect("it exists");
    let plain = table.plain(&COLUMNS, &[0]).expect("it is plain");
    let long = Text::new(&[b'x'; 20_000]);
    let row = |id: i32| {
        let body = if id % 100 == 0 { Value::Text(long) } else { Value::Null };
        [Value::Int8(id.into()), Value::Int4(id), body]
    };
    table.insert_many(&plain, &mut (1..=300).map(row));
    drop(table);
    run("set local enable_seqscan = off");
    assert_eq!(number("select count(*) from public.t where id between 1 and 300"), 300);
    assert_eq!(number("select sum(length(body)) from public.t"), 60_000);
    assert_eq!(number("select count(*) from public.t where body is null and kind = id"), 297);
}

fn target(table: pg_sys::Oid) -> Target {
    run("create sequence public.s");
    let sequence = catalog::relation_oid(c"public", c"s").expect("made above");
    watch::watch(table);
    watch::watch(sequence);
    Target { table, sequence, generation: watch::generation() }
}

fn store(target: Target) -> i64 {
    let plain = WritableTable::open(target.table)
        .expect("it exists")
        .plain(&COLUMNS, &[0])
        .expect("it is plain");
    let begun = hot::begin(target);
    let row = [Value::Int8(begun.next_value), Value::Int4(7), Value::Text(Text::new(b"one"))];
    begun.table.expect("it exists").insert(&plain, &row);
    begun.next_value
}

#[pg_test]
fn one_row_gets_the_next_value_and_is_found_by_its_index() {
    let target = target(table::create(""));
    assert_eq!((store(target), store(target)), (1, 2));
    run("set local enable_seqscan = off");
    assert_eq!(text("select body from public.t where id = 2 and kind = 7"), "one");
    assert_eq!(number("select last_value from public.s"), 2);
}

#[pg_test]
fn a_right_that_is_taken_away_within_the_transaction_is_gone() {
    let target = target(table::create(""));
    run("create role fence_writer; grant all on public.s to fence_writer; \
         grant insert on public.t to fence_writer; set local role fence_writer");
    assert_eq!(store(target), 1);
    run("reset role; revoke insert on public.t from fence_writer; set local role fence_writer");
    let code = PgTryBuilder::new(|| {
        store(target);
        None
    })
    .catch_others(|error| {
        let (pg_sys::panic::CaughtError::PostgresError(report)
        | pg_sys::panic::CaughtError::ErrorReport(report)
        | pg_sys::panic::CaughtError::RustPanic { ereport: report, .. }) = error;
        Some(report.sql_error_code())
    })
    .execute();
    assert_eq!(code, Some(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE));
}

#[pg_test]
fn a_table_that_is_gone_is_none() {
    let oid = table::create("");
    run("drop table public.t");
    assert!(WritableTable::open(oid).is_none());
}
