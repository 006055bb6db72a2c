//! Statements in other servers; here in this one. `londiste::ask` of the suite asks some that hang.

use std::time::Duration;

use pgq_pg::parameter::Parameter;
use pgq_pg::remote::{Connection, Failure, Key, Options};
use pgq_pg::session;
use pgq_pg::text::Text;
use pgrx::{PgSqlErrorCode, pg_test};

use crate::table;

/// A way to ask.
type Ask = fn(&Connection, &str) -> Result<(), Failure>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn text(text: &str) -> Text {
    Text::of_string(text)
}

fn options(location: &str) -> Options {
    Options::parse(text(location)).expect("a connection string")
}

fn location() -> String {
    table::text(
        "select format('host=%s port=%s dbname=%s user=%s', split_part(s.setting, ',', 1),
                       current_setting('port'), current_database(), current_user)
           from pg_settings s where s.name = 'unix_socket_directories'",
    )
}

fn here() -> Connection {
    Connection::open(&options(&location())).expect("this server answers")
}

/// A connection that is kept.
fn kept() -> Connection {
    Connection::open_within(&options(&location()), "fence", PATIENCE).expect("it answers")
}

fn first(connection: &Connection, sql: &str) -> Option<String> {
    let rows = connection.rows(sql, &[], PATIENCE).expect("it is answered");
    rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten()
}

fn state(failure: Failure) -> String {
    session::Failure::from(failure).sqlstate
}

fn asked(statement: &str, arguments: &[Option<Text>]) -> Result<Option<String>, Failure> {
    let answer = here().ask(text(statement), arguments)?;
    Ok(answer.map(|answer| answer.to_display()))
}

#[pg_test]
fn one_value_is_asked_for_and_anything_else_is_a_failure() {
    let sum = asked("select $1::integer + $2::integer", &[Some(text("40")), Some(text("2"))]);
    assert_eq!(sum.expect("it is answered").as_deref(), Some("42"));
    assert_eq!(asked("select $1::text", &[None]).expect("it is answered"), None);
    for statement in ["select 1, 2", "select 1 where false", "copy (select 1) to stdout", "begin"] {
        assert!(matches!(asked(statement, &[]), Err(Failure::Shape)), "{statement}");
    }
    let refused = asked("select 1 / 0", &[]).expect_err("it cannot be answered");
    let is_told = match &refused {
        Failure::Refused { code, sqlstate, message, detail: None, hint: None } => {
            *code == PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO
                && sqlstate == "22012"
                && message == "division by zero"
        }
        _ => false,
    };
    assert!(is_told, "{refused:?}");
}

#[pg_test]
fn a_connection_serves_again_and_is_lost_with_the_other_process() {
    let mut connection = here();
    assert!(!connection.used_password());
    for _ in 0..2 {
        assert!(connection.ask(text("select 1"), &[]).is_ok());
    }
    let ended = connection.ask(text("select pg_terminate_backend(pg_backend_pid())"), &[]);
    assert!(matches!(ended, Err(Failure::Refused { .. })), "{:?}", ended.err());
    let lost = connection.ask(text("select 1"), &[]);
    assert!(matches!(lost, Err(Failure::Unreachable(_))), "{:?}", lost.err());
}

#[pg_test]
fn connection_strings_are_looked_at_and_not_repeated() {
    let secret = options("host=x password='a b' options=''");
    assert!(secret.says("password") && !secret.says("options") && !secret.says("user"));
    assert_eq!(secret.beyond(&["host", "password", "options"]), None);
    assert_eq!(secret.beyond(&["host", "options"]).as_deref(), Some("password"));
    for location in ["password", "host=x hunter2", "postgresql://[x"] {
        assert!(matches!(Options::parse(text(location)), Err(Failure::BadLocation)), "{location}");
    }
}

#[pg_test]
fn a_kept_connection_gives_rows_and_goes_on_after_a_refusal() {
    let connection = kept();
    let texts = [Some("a \"b\", {c}\\"), None, Some("löwe"), Some("")];
    let parameters = [Parameter::Texts(&texts), Parameter::Text(None), Parameter::Text(Some("x"))];
    let sql = "select u.t, $2, $3 from unnest($1) with ordinality u(t, n) order by n";
    let rows = connection.rows(sql, &parameters, PATIENCE).expect("it is answered");
    let column: Vec<_> = rows.iter().map(|row| row[0].as_deref()).collect();
    assert_eq!(column, texts);
    assert_eq!((rows[0][1].as_deref(), rows[0][2].as_deref()), (None, Some("x")));
    assert_eq!(connection.rows("select 1 where false", &[], PATIENCE).expect("no row"), [[]; 0]);
    connection
        .run("begin; create temp table t (i integer); insert into t values (1)", PATIENCE)
        .expect("they run");
    let refused = connection.run("select 'löwe'::integer; select 1", PATIENCE);
    let refused = session::Failure::from(refused.expect_err("it is no number"));
    assert_eq!(refused.sqlstate, "22P02");
    assert!(refused.message.contains("löwe"), "{}", refused.message);
    assert!(!connection.is_broken());
    assert_eq!(connection.rows("select 1", &[], PATIENCE).map_err(state), Err("25P02".to_owned()));
    connection.run("rollback", PATIENCE).expect("it runs");
    assert_eq!(
        first(&connection, "select current_setting('client_encoding')").as_deref(),
        Some("UTF8")
    );
    assert_eq!(
        first(&connection, "select current_setting('application_name')").as_deref(),
        Some("fence")
    );
    assert_eq!(connection.parameter(c"is_superuser").as_deref(), Some("on"));
    assert_eq!(connection.parameter(c"no such"), None);
    let detail = connection.run(
        "do $$ begin raise 'a' using errcode = 'UE001', detail = 'b', hint = 'c'; end $$",
        PATIENCE,
    );
    let failure = session::Failure::from(detail.expect_err("it is raised"));
    assert_eq!(failure.sqlstate, "UE001");
    assert_eq!((failure.detail.as_deref(), failure.hint.as_deref()), (Some("b"), Some("c")));
    assert!(failure.message.contains('a'));
    let long =
        "do $$ begin raise '%', 'x' || repeat('ö', 100000) using detail = repeat('y', 100000);
                end $$";
    let failure = connection.run(long, PATIENCE).map_err(session::Failure::from);
    let failure = failure.expect_err("it is raised");
    let detail = failure.detail.unwrap_or_default();
    assert!(failure.message.ends_with('ö'), "not within a character");
    assert!(failure.message.len() < 2100 && detail.len() == 2000, "texts are cut");
}

#[pg_test]
fn copy_comes_row_by_row_and_its_error_is_the_other_servers() {
    let connection = kept();
    let mut copy = connection
        .copy_out("copy (select i, 'löwe' from generate_series(1, 1000) i) to stdout", PATIENCE)
        .expect("it begins");
    let mut rows = 0;
    while let Some(row) = copy.chunk().expect("it goes on") {
        rows += 1;
        assert_eq!(row, format!("{rows}\tlöwe\n").as_bytes());
    }
    drop(copy);
    assert_eq!(rows, 1000);
    assert!(!connection.is_broken());
    let refused = connection.copy_out("copy no_such to stdout", PATIENCE).err().map(state);
    assert_eq!(refused.as_deref(), Some("42P01"));
    let mut copy = connection
        .copy_out("copy (select 1 / (500 - i) from generate_series(1, 1000) i) to stdout", PATIENCE)
        .expect("it begins");
    let end = loop {
        match copy.chunk() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(failure) => break Some(state(failure)),
        }
    };
    assert_eq!(end.as_deref(), Some("22012"));
    drop(copy);
    assert_eq!(first(&connection, "select 1::text").as_deref(), Some("1"));
    // What is not read to its end ends the connection.
    let mut copy = connection.copy_out("copy (select 1) to stdout", PATIENCE).expect("it begins");
    assert_eq!(copy.chunk().expect("it goes on"), Some(&b"1\n"[..]));
    drop(copy);
    assert!(connection.is_broken());
    assert!(matches!(connection.run("select 1", PATIENCE), Err(Failure::Unreachable(_))));
}

#[pg_test]
fn what_is_no_answer_to_the_question_is_an_error_at_once() {
    let wrong: [(&str, Ask); 5] = [
        ("copy (select 1) to stdout", |it, sql| it.run(sql, PATIENCE)),
        ("copy (select 1) to stdout", |it, sql| it.rows(sql, &[], PATIENCE).map(|_| ())),
        ("create temp table c (); copy c from stdin", |it, sql| it.run(sql, PATIENCE)),
        ("create temp table c (); copy c from stdin", |it, sql| {
            it.copy_out(sql, PATIENCE).map(|_| ())
        }),
        ("select 1", |it, sql| it.copy_out(sql, PATIENCE).map(|_| ())),
    ];
    for (sql, ask) in wrong {
        let connection = kept();
        let answer = ask(&connection, sql);
        assert!(matches!(answer, Err(Failure::Protocol)), "{sql}: {answer:?}");
        assert!(connection.is_broken(), "{sql}");
    }
    let connection = kept();
    let large = "select repeat('x', 1 << 20) from generate_series(1, 100)";
    assert!(matches!(connection.rows(large, &[], PATIENCE), Err(Failure::TooLarge)));
    assert!(connection.is_broken());
}

#[pg_test]
fn a_wait_ends_with_silence_or_when_this_session_is_told_to_stop() {
    let connection = kept();
    let silence = Duration::from_millis(50);
    let silent = connection.run("select pg_sleep(60)", silence);
    assert!(matches!(silent, Err(Failure::Silent)), "{silent:?}");
    assert!(connection.is_broken());
    let mut connection = kept();
    let copy = connection.copy_out("copy (select pg_sleep(60)) to stdout", silence);
    assert!(matches!(copy.and_then(|mut copy| copy.chunk().map(|_| ())), Err(Failure::Silent)));
    connection = kept();
    let cancel = format!("select pg_cancel_backend({}), pg_sleep(60)", pgq_pg::process::my_pid());
    let told = connection.run(&cancel, PATIENCE);
    assert!(
        matches!(&told, Err(Failure::Here(failure)) if failure.sqlstate == "57014"),
        "{told:?}"
    );
}

#[pg_test]
fn options_are_put_together_and_keys_are_known() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut options = Options::of_pairs(&[pair("host", "a"), pair("password", "b")]).expect("two");
    options.set("host", "c").expect("no zero byte");
    options.set("port", "1").expect("no zero byte");
    assert_eq!(options.get("host").as_deref(), Some("c"));
    assert_eq!(options.get("user"), None);
    let empty = Options::of_pairs(&[pair("host", "a"), pair("host", "")]).expect("two");
    assert_eq!(empty.get("host").as_deref(), Some("a"), "as the library takes it");
    assert!(Options::of_str("host=a port=1").is_ok_and(|it| it.says("host")));
    assert!(Options::of_str("host").is_err() && Options::of_str("host=a\0").is_err());
    assert_eq!(options.keys().collect::<Vec<_>>(), ["password", "host", "port"]);
    assert!(Options::of_pairs(&[pair("host", "a\0b")]).is_err());
    assert_eq!(Key::of("host").expect("a list"), Some(Key::Plain));
    assert_eq!(Key::of("password").expect("a list"), Some(Key::Secret));
    assert_eq!(Key::of("replication").expect("a list"), Some(Key::Debug));
    assert_eq!(Key::of("no such").expect("a list"), None);
}
