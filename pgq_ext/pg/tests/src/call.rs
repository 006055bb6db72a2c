//! Functions that SQL calls: arguments in, results out.

use pgq_pg::call::{Call, Returned, SqlError};
use pgq_pg::function;
use pgq_pg::row_store::{RowStore, UnknownColumn};
use pgq_pg::text::Text;
use pgq_pg::value::Value;
use pgrx::{PgSqlErrorCode, pg_test};

use crate::table::{number, run, text};

pgq_pg::sql_functions! {
    /// All arguments in one text.
    fence_echo, pg_finfo_fence_echo => echo;
    /// An error.
    fence_fail, pg_finfo_fence_fail => fail;
    /// Three rows.
    fence_rows, pg_finfo_fence_rows => rows;
}

fn echo(call: &Call) -> Result<Returned, SqlError> {
    let array = call.text_array(4).map(|array| {
        array.map(|texts| texts.into_iter().map(|text| text.map(Text::to_display)).collect())
    });
    let array: Option<Result<Vec<Option<String>>, _>> = array;
    let seen = format!(
        "{:?} {:?} {:?} {:?} {array:?} {:?} of {}",
        call.string(0),
        call.int4(1),
        call.int8(2),
        call.bool(3),
        call.interval(5),
        call.arg_count(),
    );
    Ok(Returned::Text(Text::of_string(&seen)))
}

fn fail(call: &Call) -> Result<Returned, SqlError> {
    match call.string(0) {
        Some(message) => Err(SqlError {
            code: PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            message,
            hint: Some("Do something.".to_owned()),
        }),
        None => Ok(Returned::Null),
    }
}

fn rows(call: &Call) -> Result<Returned, SqlError> {
    let mut store = RowStore::begin(call);
    for id in 1..=3 {
        let body = if id == 2 { Value::Null } else { Value::Text(Text::of_string("löwe")) };
        let values = [("id", Value::Int8(id)), ("at", Value::Int8(0)), ("body", body)];
        store.put(&values).map_err(|UnknownColumn(name)| SqlError {
            code: PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            message: format!("no value for {name}"),
            hint: None,
        })?;
    }
    store.finish();
    Ok(Returned::Done)
}

const ECHO: &str = "create function public.echo(text, integer, bigint, boolean, text[], interval) \
                    returns text language c as 'pgq_pg_tests', 'fence_echo'";

#[pg_test]
fn arguments_are_read_as_they_are_declared() {
    run(ECHO);
    assert_eq!(
        text("select public.echo('löwe', -1, 9e18::bigint, false, '{a,null}', '1 day 1 second')"),
        "Some(\"löwe\") Some(-1) Some(9000000000000000000) Some(false) \
         Some(Ok([Some(\"a\"), None])) Some(86401000000) of 6"
    );
    assert_eq!(
        text("select public.echo(null, null, null, null, '{{a},{b}}', null)"),
        "None None None None Some(Err(ManyDimensions)) None of 6"
    );
}

#[pg_test(error = "no such thing")]
fn an_error_is_raised_with_its_message() {
    run("create function public.fail(text) returns void language c \
         as 'pgq_pg_tests', 'fence_fail'; select public.fail('no such thing')");
}

#[pg_test]
fn an_error_is_raised_with_its_sqlstate_and_hint() {
    run("create function public.fail(text) returns void language c \
         as 'pgq_pg_tests', 'fence_fail'");
    run("do $$ declare h text; begin \
           perform public.fail('no'); \
         exception when undefined_object then \
           get stacked diagnostics h = pg_exception_hint; \
           if h <> 'Do something.' then raise exception 'hint is %', h; end if; \
         end $$");
    assert_eq!(number("select count(*) from (select public.fail(null)) f where f is null"), 1);
}

#[pg_test]
fn a_row_store_gives_the_rows_that_were_put_in() {
    run("create function public.rows(out id bigint, out body text) returns setof record \
         language c as 'pgq_pg_tests', 'fence_rows'");
    assert_eq!(
        text("select string_agg(id || coalesce(body, '-'), ' ') from public.rows()"),
        "1löwe 2- 3löwe"
    );
}

#[pg_test]
fn a_row_store_serves_columns_in_any_order_and_number() {
    run("create function public.rows(out body text, out at timestamptz) returns setof record \
         language c as 'pgq_pg_tests', 'fence_rows'");
    assert_eq!(
        text(
            "select string_agg(coalesce(body, '-'), ' ') from public.rows() where at < '2001-01-01'"
        ),
        "löwe - löwe"
    );
}

#[pg_test(error = "no value for mind")]
fn a_row_store_refuses_a_column_that_it_has_no_value_for() {
    run("create function public.rows(out body text, out mind text) returns setof record \
         language c as 'pgq_pg_tests', 'fence_rows'");
    number("select count(*) from public.rows()");
}

#[pg_test(error = "no value for id")]
fn a_row_store_refuses_a_column_of_another_type() {
    run("create function public.rows(out id text, out body text) returns setof record \
         language c as 'pgq_pg_tests', 'fence_rows'");
    number("select count(*) from public.rows()");
}

#[pg_test]
fn a_function_is_ours_by_what_it_is_bound_to() {
    let entry = pgq_pg::entry_of!(fence_fail);
    let find = || function::find_own(c"public", c"fail", 1, entry);
    assert!(find().is_none());
    run("create function public.fail(text) returns void language c \
         as 'pgq_pg_tests', 'fence_fail'");
    assert!(find().is_some());
    assert!(function::find_own(c"public", c"fail", 1, pgq_pg::entry_of!(fence_echo)).is_none());
    run("create or replace function public.fail(text) returns void language sql as ''");
    assert!(find().is_none());
}
