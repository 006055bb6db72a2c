//! Reading rows through an index.

use std::ops::ControlFlow;

use pgq_pg::index_scan::IndexedTable;
use pgq_pg::sequence;
use pgq_pg::snapshot::StatementSnapshot;
use pgrx::pg_test;

use crate::table::{self, COLUMNS, number, run};

const ROWS: &str = "insert into public.t select i, nullif(i % 3, 0), 'x' \
                    from generate_series(10, 1, -1) i";

#[pg_test]
fn a_scan_gives_the_rows_of_a_range_in_index_order() {
    let table = IndexedTable::open(table::create(ROWS), &COLUMNS, 0).expect("it has an index");
    let _snapshot = StatementSnapshot::take();
    let mut found = Vec::new();
    let flow = table.scan_range(3, 6, |row| {
        found.push((row.int8(0), row.int4(1)));
        ControlFlow::<()>::Continue(())
    });
    assert!(flow.is_continue());
    assert_eq!(found, [(Some(3), None), (Some(4), Some(1)), (Some(5), Some(2)), (Some(6), None)]);
}

#[pg_test]
fn a_scan_ends_where_the_visitor_breaks() {
    let table = IndexedTable::open(table::create(ROWS), &COLUMNS, 0).expect("it has an index");
    let _snapshot = StatementSnapshot::take();
    let mut seen = 0;
    let flow = table.scan_range(1, 10, |row| {
        seen += 1;
        if seen == 2 { ControlFlow::Break(row.int8(0)) } else { ControlFlow::Continue(()) }
    });
    assert_eq!((flow, seen), (ControlFlow::Break(Some(2)), 2));
}

#[pg_test]
fn what_the_statement_wrote_is_seen_under_a_snapshot_taken_later_only() {
    let table = IndexedTable::open(table::create(ROWS), &COLUMNS, 0).expect("it has an index");
    let count = || {
        let mut rows = 0;
        let _ = table.scan_range(i64::MIN, i64::MAX, |_| {
            rows += 1;
            ControlFlow::<()>::Continue(())
        });
        rows
    };
    assert_eq!(count(), 0, "the snapshot of the statement that called the test");
    let _snapshot = StatementSnapshot::take();
    assert_eq!(count(), 10);
}

#[pg_test]
fn a_table_without_a_usable_index_is_for_a_query() {
    for more in [
        "drop index public.t_id",
        "drop index public.t_id; create index on public.t (id) where id > 5",
        "drop index public.t_id; create index on public.t (kind, id)",
        "alter table public.t enable row level security",
        "alter table public.t add more text",
    ] {
        let oid = table::create(more);
        assert!(IndexedTable::open(oid, &COLUMNS, 0).is_none(), "{more}");
        run("drop table public.t");
    }
}

#[pg_test]
fn a_sequence_is_read_without_being_advanced() {
    run("create sequence public.s start 5");
    let oid = pgq_pg::catalog::relation_oid(c"public", c"s").expect("made above");
    assert_eq!((sequence::last_value(oid), sequence::current_value(oid)), (None, Some(5)));
    assert_eq!(sequence::nextval(oid), 5);
    assert_eq!((sequence::last_value(oid), sequence::current_value(oid)), (Some(5), Some(5)));
    assert_eq!(number("select last_value from public.s"), 5);
    assert_eq!(sequence::last_value(table::create("")), None, "a table is no sequence");
}
