//! COPY from what a worker has at hand.

use std::time::Duration;

use pgq_pg::copy::{CopyError, copy_in};
use pgq_pg::remote::{Connection, Failure, Options};
use pgq_pg::{piece, process};
use pgrx::pg_test;

use crate::piece::{code, done, transaction};
use crate::scenario;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the tests below run in workers.
pub(crate) const SCENARIOS: &[fn()] = &[cuts, failures, make_tables, rights, pipe];

const TABLE: &str = "drop table if exists public.copied;
    create table public.copied (i integer, t text, d date)";

/// Copy a text in chunks of this size; the code of an error.
fn copy(columns: &[&str], text: &str, size: usize) -> Result<u64, String> {
    let mut chunks = text.as_bytes().chunks(size);
    let mut source = || Ok::<_, ()>(chunks.next().map(<[u8]>::to_vec));
    copy_in("public", "copied", columns, &mut source).map_err(|error| match error {
        CopyError::Here(failure) => failure.sqlstate,
        CopyError::Source(()) => "the source".to_owned(),
    })
}

fn rows() -> Vec<Vec<Option<String>>> {
    done(piece::rows("select i, t from public.copied order by i", &[]))
}

fn row(number: i32, text: Option<&str>) -> Vec<Option<String>> {
    vec![Some(number.to_string()), text.map(str::to_owned)]
}

fn cuts() {
    transaction(TABLE);
    // What a session has set decides nothing.
    done(piece::begin());
    done(piece::run("set client_encoding = latin1"));
    for size in [1, 2, 7, 1 << 20] {
        done(piece::savepoint());
        assert_eq!(copy(&["t", "i"], "löwe\t1\n\\N\t2\na\\tb\t3\n", size), Ok(3));
        assert_eq!(rows(), [row(1, Some("löwe")), row(2, None), row(3, Some("a\tb"))]);
        done(piece::roll_back());
    }
    let long = "x".repeat(300_000);
    assert_eq!(copy(&["i", "t"], &format!("1\t{long}\n2\t{long}\n"), 70_000), Ok(2));
    assert_eq!(rows(), [row(1, Some(&long)), row(2, Some(&long))]);
    assert_eq!(copy(&[], "3\ta\t2026-02-01\n", 9), Ok(1), "all columns");
    assert_eq!(copy(&["i"], "", 9), Ok(0));
    done(piece::commit());
    transaction("truncate public.copied; reset client_encoding");
}

fn failures() {
    transaction(TABLE);
    assert_eq!(copy(&["i"], "1\n", 9), Err("25P01".to_owned()), "no transaction");
    done(piece::begin());
    let refused = |columns: &[&str], text: &str| {
        done(piece::savepoint());
        let error = copy(columns, text, 9).expect_err("it is refused");
        assert_eq!(code(piece::run("select 1")), "25P02");
        done(piece::roll_back());
        error
    };
    assert_eq!(refused(&["i"], "1\nx\n"), "22P02");
    assert_eq!(refused(&["i"], "1\t2\n"), "22P04");
    assert_eq!(refused(&["no such"], "1\n"), "42703");
    assert_eq!(refused(&["i", "i"], "1\n"), "42701");
    // The source fails, panics, or is told to stop.
    let mut calls = 0;
    let mut fails = || {
        calls += 1;
        if calls < 3 { Ok(Some(b"1\n".to_vec())) } else { Err("of the source") }
    };
    done(piece::savepoint());
    let failed = copy_in("public", "copied", &["i"], &mut fails);
    assert!(matches!(failed, Err(CopyError::Source("of the source"))), "{failed:?}");
    done(piece::roll_back());
    done(piece::savepoint());
    let mut panics = || -> Result<Option<Vec<u8>>, ()> {
        assert_eq!(calls, 0, "a panic");
        Ok(None)
    };
    match copy_in("public", "copied", &["i"], &mut panics) {
        Err(CopyError::Here(failure)) => assert!(failure.message.contains("a panic")),
        other => assert_eq!(format!("{other:?}"), "a failure here"),
    }
    done(piece::roll_back());
    done(piece::savepoint());
    done(piece::run(
        "create function public.tell() returns trigger language plpgsql as
         $$ begin perform pg_cancel_backend(pg_backend_pid()); return new; end $$;
         create trigger tell before insert on public.copied
         for each row execute function public.tell()",
    ));
    let mut endless = || Ok::<_, ()>(Some(b"1\n".to_vec()));
    match copy_in("public", "copied", &["i"], &mut endless) {
        Err(CopyError::Here(failure)) => assert_eq!(failure.sqlstate, "57014"),
        other => assert_eq!(format!("{other:?}"), "a failure here"),
    }
    done(piece::roll_back());
    assert_eq!(rows(), [[]; 0]);
    // Within a copy nothing else runs, and nothing is undone.
    done(piece::savepoint());
    let mut other = || Ok::<_, ()>(piece::run("select 1").is_ok().then(Vec::new));
    assert!(matches!(copy_in("public", "copied", &["i"], &mut other), Err(CopyError::Here(_))));
    done(piece::roll_back());
    done(piece::savepoint());
    let mut none = || Ok::<_, ()>(None);
    let missing = copy_in("public", "no such", &[], &mut none);
    assert!(matches!(missing, Err(CopyError::Here(failure)) if failure.sqlstate == "42P01"));
    done(piece::roll_back());
    done(piece::commit());
    done(piece::begin());
    done(piece::run("set transaction read only"));
    assert_eq!(copy(&["i"], "1\n", 9), Err("25006".to_owned()));
    piece::abort();
}

fn make_tables() {
    transaction(TABLE);
    transaction("grant insert (i) on public.copied to fence_nobody");
}

fn rights() {
    done(piece::begin());
    assert_eq!(copy(&["i"], "1\n", 9), Ok(1));
    for columns in [&["i", "t"][..], &[]] {
        done(piece::savepoint());
        assert_eq!(copy(columns, "1\tx\n", 9), Err("42501".to_owned()));
        done(piece::roll_back());
    }
    // A policy stands in its way, also one of its own making.
    done(piece::run("create temp table own (i integer)"));
    done(piece::run("alter table own enable row level security, force row level security"));
    let schema = done(piece::rows("select pg_my_temp_schema()::regnamespace::text", &[]));
    let schema = schema[0][0].clone().expect("there is one");
    let mut none = || Ok::<_, ()>(None);
    let policed = copy_in(&schema, "own", &["i"], &mut none);
    let Err(CopyError::Here(failure)) = policed else { return assert!(policed.is_err()) };
    assert_eq!(failure.sqlstate, "0A000");
    piece::abort();
    done(piece::begin());
    let hidden = copy_in("pg_toast", "pg_toast_1255", &[], &mut none);
    assert!(matches!(hidden, Err(CopyError::Here(failure)) if failure.sqlstate == "42501"));
    piece::abort();
}

/// Where this server is, for who has a transaction in pieces open.
pub(crate) fn location() -> Options {
    let location = done(piece::rows(
        "select format('host=%s port=%s dbname=%s user=%s', split_part(s.setting, ',', 1),
                       current_setting('port'), current_database(), current_user)
           from pg_settings s where s.name = 'unix_socket_directories'",
        &[],
    ));
    let location = location[0][0].as_deref().expect("a text");
    Options::of_str(location).expect("a connection string")
}

/// From a server into a table, here one and the same.
fn pipe() {
    transaction(TABLE);
    done(piece::begin());
    let options = location();
    let connect = || Connection::open_within(&options, "fence", PATIENCE).expect("it answers");
    let pipe = |connection: &Connection, sql: &str| {
        let mut copy = connection.copy_out(sql, PATIENCE).expect("it begins");
        let mut source = || Ok::<_, Failure>(copy.chunk()?.map(<[u8]>::to_vec));
        copy_in("public", "copied", &["i", "t"], &mut source)
    };
    let connection = connect();
    let sql = "copy (select i, 'löwe' from generate_series(1, 5000) i) to stdout";
    assert_eq!(pipe(&connection, sql).ok(), Some(5000));
    // Errors of the other side are its own, and this session can go on after its savepoint.
    done(piece::savepoint());
    let sql = "copy (select 1 / (500 - i), 'x' from generate_series(1, 1000) i) to stdout";
    match pipe(&connection, sql) {
        Err(CopyError::Source(Failure::Refused { sqlstate, .. })) => assert_eq!(sqlstate, "22012"),
        other => assert_eq!(format!("{other:?}"), "a refusal there"),
    }
    done(piece::roll_back());
    assert!(!connection.is_broken());
    // So it can when it was told to stop while it waited for another side.
    done(piece::savepoint());
    let other = connect();
    let cancel = format!("select pg_cancel_backend({}), pg_sleep(60)", process::my_pid());
    let mut copy = connection.copy_out("copy (values (1, 'x')) to stdout", PATIENCE);
    let copy = copy.as_mut().expect("it begins");
    let mut source = || {
        let chunk = copy.chunk()?.map(<[u8]>::to_vec);
        other.run(&cancel, PATIENCE)?;
        Ok(chunk)
    };
    match copy_in("public", "copied", &["i", "t"], &mut source) {
        Err(CopyError::Source(Failure::Here(failure))) => assert_eq!(failure.sqlstate, "57014"),
        other => assert_eq!(format!("{other:?}"), "a failure here"),
    }
    assert!(connection.is_broken() && other.is_broken());
    assert_eq!(code(piece::run("select 1")), "25P02");
    done(piece::roll_back());
    assert_eq!(rows().len(), 5000);
    // Without a copy around it, such an error is one of the transaction, too.
    done(piece::savepoint());
    let told = connect().run(&cancel, PATIENCE);
    assert!(matches!(told, Err(Failure::Here(_))), "{told:?}");
    assert_eq!(code(piece::run("select 1")), "25P02");
    done(piece::roll_back());
    done(piece::commit());
}

#[pg_test]
fn rows_are_copied_however_their_text_is_cut() {
    scenario::run(cuts);
}

#[pg_test]
fn a_copy_that_fails_says_whose_fault_it_is_and_undoes_its_savepoint() {
    scenario::run(failures);
}

#[pg_test]
fn a_copy_needs_the_rights_of_one() {
    scenario::run(crate::piece::make_nobody);
    scenario::run(make_tables);
    scenario::run_as_nobody(crate::piece::make_nobody, rights);
}

#[pg_test]
fn rows_flow_from_another_server_into_a_table() {
    scenario::run(pipe);
}
