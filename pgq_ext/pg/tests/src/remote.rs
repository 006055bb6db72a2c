//! Statements in other servers; here in this one. `londiste::ask` of the suite asks some that hang.

use pgq_pg::remote::{Connection, Failure, Options};
use pgq_pg::text::Text;
use pgrx::{PgSqlErrorCode, pg_test};

use crate::table;

fn text(text: &str) -> Text {
    Text::of_string(text)
}

fn options(location: &str) -> Options {
    Options::parse(text(location)).expect("a connection string")
}

fn here() -> Connection {
    let location = table::text(
        "select format('host=%s port=%s dbname=%s user=%s', split_part(s.setting, ',', 1),
                       current_setting('port'), current_database(), current_user)
           from pg_settings s where s.name = 'unix_socket_directories'",
    );
    Connection::open(&options(&location)).expect("this server answers")
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
        Failure::Refused { code, sqlstate, message, hint: None } => {
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
