//! Memory contexts.

use pgq_pg::heap::WritableTable;
use pgq_pg::memory::LongLivedContext;
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::pg_test;

use crate::table::{self, COLUMNS, number};

fn contexts(name: &str) -> i64 {
    number(&format!("select count(*) from pg_backend_memory_contexts where name = '{name}'"))
}

#[pg_test]
#[cfg(not(feature = "pg13"))]
fn a_context_lives_as_long_as_its_owner() {
    let context = LongLivedContext::new(c"fence test");
    assert_eq!(contexts("fence test"), 1);
    drop(context);
    assert_eq!(contexts("fence test"), 0);
}

#[pg_test]
#[cfg(not(feature = "pg13"))]
fn storing_many_rows_leaves_no_memory_behind() {
    let table = WritableTable::open(table::create("")).expect("it exists");
    let plain = table.plain(&COLUMNS, &[0]).expect("it is plain");
    let long = Text::new(&[b'x'; 100_000]);
    let mut rows = (0..1000).map(|id| [Value::Int8(id), Value::Null, Value::Text(long)]);
    table.insert_many(&plain, &mut rows);
    drop(table);
    assert_eq!(contexts("rows for heap_multi_insert"), 0);
}

#[pg_test]
fn a_compressed_value_is_read_like_any_other() {
    table::create("insert into public.t values (1, 1, repeat('ab', 50000))");
    let length = pgq_pg::sql::connected(|connection| {
        let plan = connection.prepare(b"select body from public.t", &[]);
        let plan = plan.expect("it can be prepared");
        let answer = plan.run(connection, &[], pgq_pg::sql::Under::Own).expect("it runs");
        answer.records().next().and_then(|row| row.get::<String>(1)).map(|body| body.len())
    });
    assert_eq!(length, Some(100_000));
}
