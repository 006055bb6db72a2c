//! Statements: plans that are kept, snapshots, types, errors.

use pgq_pg::sql::{self, Answer, Connection, Query, Under};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::{PgTryBuilder, pg_sys, pg_test};

use crate::table::{self, number, run};

const COUNT: &str = "select count(*) from public.t where id operator(pg_catalog.>=) $1";

thread_local! {
    static ROWS: Query = const { Query::new(COUNT, &[pg_sys::INT8OID]) };
}

fn count(under: Under) -> Option<i64> {
    let row = ROWS.with(|query| query.first(&[Value::Int8(0)], under, |row| row.get(1)));
    row.expect("SPI runs it").flatten()
}

#[pg_test]
fn an_own_snapshot_sees_what_the_transaction_did_and_the_active_one_what_the_caller_sees() {
    table::create("insert into public.t select i from generate_series(1, 3) i");
    assert_eq!(count(Under::Own), Some(3));
    assert_eq!(count(Under::Active), Some(0), "the statement that called began before");
    assert_eq!(count(Under::Latest), Some(3));
}

#[pg_test]
fn a_kept_plan_follows_a_table_that_was_made_anew() {
    table::create("insert into public.t values (1)");
    assert_eq!(count(Under::Own), Some(1));
    run("drop table public.t");
    table::create("insert into public.t values (1), (2)");
    assert_eq!(count(Under::Own), Some(2));
}

#[pg_test]
fn values_of_all_kinds_go_in_and_come_out() {
    let text = Text::new(b"l\xc3\xb6we");
    let arguments = [
        Value::Bool(true),
        Value::Int4(-4),
        Value::Int8(i64::MIN),
        Value::Float8(0.5),
        Value::Oid(pg_sys::Oid::from(7)),
        Value::Text(text),
        Value::Null,
    ];
    let types = [
        pg_sys::BOOLOID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::FLOAT8OID,
        pg_sys::OIDOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
    ];
    sql::connected(|connection| {
        let plan = connection.prepare(b"select $1, $2, $3, $4, $5, $6, $7", &types);
        let plan = plan.expect("it can be prepared");
        let answer = plan.run(connection, &arguments, Under::Active).expect("it runs");
        assert_eq!((answer.rows(), answer.columns()), (1, 7));
        let row = answer.records().next().expect("one row");
        assert_eq!((row.get(1), row.get(2), row.get(3)), (Some(true), Some(-4), Some(i64::MIN)));
        assert_eq!((row.get(4), row.get(5)), (Some(0.5), Some(pg_sys::Oid::from(7))));
        assert_eq!(row.get::<String>(6).as_deref(), Some("löwe"));
        assert_eq!(row.get::<i32>(7), None);
        assert_eq!(row.text(2).as_deref(), Some(&b"-4"[..]));
    });
}

#[pg_test(error = "column 1 has type 25")]
fn a_value_is_not_read_as_another_type() {
    sql::connected(|connection| {
        let plan = connection.prepare(b"select 'a'::text", &[]).expect("it is prepared");
        let answer = plan.run(connection, &[], Under::Own).expect("it runs");
        answer.records().next().expect("one row").get::<i64>(1)
    });
}

#[pg_test(error = "syntax error at or near \"selec\"")]
fn an_error_in_a_statement_is_raised() {
    let _ = sql::connected(|connection| connection.prepare(b"selec 1", &[]).map(|_| ()));
}

#[pg_test]
fn what_spi_refuses_is_said_by_name() {
    sql::connected(|connection| {
        let prepare = |sql: &[u8]| connection.prepare(sql, &[]);
        let refused = prepare(b"select \0").err().expect("a zero byte is refused");
        assert_eq!(refused.0, "zero byte in a query");
        let plan = prepare(b"begin").expect("it can be prepared");
        let refused = plan.run(connection, &[], Under::Own).err().expect("begin is refused");
        assert_eq!(refused.0, "SPI_ERROR_TRANSACTION");
        let plan = prepare(b"set local work_mem = 64").expect("it can be prepared");
        let answer = plan.run(connection, &[], Under::Own).expect("it runs");
        assert_eq!((answer.rows(), answer.columns()), (0, 0));
        assert_eq!(answer.first_type(), pg_sys::InvalidOid);
        let refused = Answer::of_select(answer).err().expect("it is no select");
        assert_eq!(refused.0, "SPI_OK_UTILITY");
    });
}

#[pg_test]
fn statements_run_without_jit_and_the_setting_comes_back() {
    run("set local jit = on");
    let show = || {
        sql::connected(|connection| {
            let plan = connection.prepare(b"select pg_catalog.current_setting('jit')", &[]);
            let plan = plan.expect("it can be prepared");
            let answer = plan.run(connection, &[], Under::Active).expect("it runs");
            answer.records().next().and_then(|row| row.text(1))
        })
    };
    assert_eq!(show().as_deref(), Some(&b"off"[..]));
    assert_eq!(table::text("select current_setting('jit')"), "on");
}

#[pg_test]
fn an_error_crosses_rust_frames_runs_their_destructors_and_leaves_the_session_working() {
    struct Noted<'a>(&'a std::cell::Cell<bool>);
    impl Drop for Noted<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = std::cell::Cell::new(false);
    let dropped_ref = std::panic::AssertUnwindSafe(&dropped);
    let raised = PgTryBuilder::new(move || {
        let _noted = Noted(&dropped_ref);
        sql::connected(|connection| {
            let plan = connection
                .prepare(b"select 1 / 0", &[])
                .expect("division is not folded while it is prepared");
            plan.run(connection, &[], Under::Own).map(|_| false).expect("it raises an error")
        })
    })
    .catch_when(pgrx::PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO, |_| true)
    .execute();
    assert!(raised && dropped.get());
    assert_eq!(number("select 1::bigint"), 1);
}

#[pg_test]
#[cfg(not(feature = "pg13"))]
fn what_is_prepared_goes_with_its_connection_and_a_kept_plan_with_its_owner_also_while_unwinding() {
    let prepared = |connection: &Connection| connection.prepare(b"select 'of ours'", &[]).is_ok();
    let keep = || {
        let plan =
            sql::connected(|connection| connection.prepare(b"select 'of ours'", &[])?.keep());
        plan.expect("it is kept")
    };
    let plans = || {
        number(
            "select count(*) from pg_backend_memory_contexts
              where name = 'CachedPlanSource' and ident = 'select ''of ours'''",
        )
    };
    assert!(sql::connected(|connection| prepared(connection) && plans() == 1));
    assert_eq!(plans(), 0);
    let plan = keep();
    assert_eq!(plans(), 1);
    drop(plan);
    assert_eq!(plans(), 0);
    let plan = keep();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _plan = plan;
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
    assert_eq!(plans(), 1, "PostgreSQL is not called while unwinding");
    drop(keep());
    assert_eq!(plans(), 0);
}
