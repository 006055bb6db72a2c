//! Asking another server: what comes back, who may, and that nothing stops who asks from ending.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::thread;

use pgq_tests::programs::dsn;
use pgq_tests::query::{Doomed, outcome, row, run};
use pgq_tests::{Cluster, PATIENCE, Stop, Tree, wait_until};
use postgres::Client;

use crate::londiste::database_on;

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A server that takes connections and never answers; a connection string for it.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn location(&self) -> String {
        let port = self.0.local_addr().unwrap().port();
        format!("host=127.0.0.1 port={port} user=postgres dbname=x sslmode=disable")
    }

    fn question(&self) -> String {
        format!("select londiste._ask({}, 'select 1')", quoted(&self.location()))
    }

    /// The connection of who asks, if there is one that has said what it wants.
    fn asked_already(&self) -> Option<TcpStream> {
        let (mut stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (stream.read(&mut [0; 1000]).unwrap() > 0).then_some(stream)
    }

    /// The connection of who asks, which has said what it wants.
    fn asked(&self) -> TcpStream {
        let mut stream = None;
        assert!(wait_until(PATIENCE, || {
            stream = self.asked_already();
            stream.is_some()
        }));
        stream.unwrap()
    }
}

/// Wait until the other end has closed the connection.
fn is_closed(mut stream: TcpStream) -> bool {
    // One that stays open fails the test instead of hanging it.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(stream.read(&mut [0; 1000]), Ok(0))
}

#[test]
fn who_asks_a_server_that_hangs_can_be_cancelled_and_ended_and_closes_the_connection() {
    let (database, mut client) = database_on(Tree::Ours);
    let silent = Silent::new();
    for (question, expected) in [
        (silent.question(), "57014"),
        (
            // Caught in a subtransaction; the session goes on.
            format!(
                "do $$ begin perform londiste._ask({}, 'select 1');
                 exception when query_canceled then raise 'caught'; end $$",
                quoted(&silent.location())
            ),
            "P0001",
        ),
    ] {
        let mut session = database.connect();
        let pid = row(&mut session, "select pg_backend_pid()");
        let asking = thread::spawn(move || {
            let answer = outcome(&mut session, &question);
            (session, answer)
        });
        let stream = silent.asked();
        assert_eq!(row(&mut client, &format!("select pg_cancel_backend({pid})")), "t");
        let (mut session, answer) = asking.join().unwrap();
        assert!(answer.starts_with(&format!("ERROR {expected}: ")), "{answer}");
        assert!(is_closed(stream), "{expected}");
        assert_eq!(row(&mut session, "select 1"), "1");
    }
    let asking = Doomed::begin(database.cluster(), database.name(), &silent.question());
    let stream = silent.asked();
    let end = "select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and query like 'select londiste._ask%'";
    assert_eq!(row(&mut client, end), "t");
    let said = asking.last_words();
    assert!(said.starts_with("FATAL:  57P01: "), "{said}");
    assert!(is_closed(stream), "terminate");
    // A limit of time does the same. One that has passed before anybody was asked says nothing.
    let mut limit = 100;
    assert!(wait_until(PATIENCE, || {
        let mut session = database.connect();
        run(&mut session, &format!("set statement_timeout = {limit}"));
        limit *= 2;
        assert!(outcome(&mut session, &silent.question()).starts_with("ERROR 57014: "));
        silent.asked_already().is_some_and(is_closed)
    }));
}

#[test]
fn a_fast_shutdown_does_not_wait_for_a_server_that_hangs() {
    let mut cluster = Cluster::builder().set("fsync", "off").start();
    run(&mut cluster.connect("postgres"), "create extension londiste cascade");
    let silent = Silent::new();
    let asking = Doomed::begin(&cluster, "postgres", &silent.question());
    let stream = silent.asked();
    cluster.stop(Stop::Fast);
    let said = asking.last_words();
    assert!(said.starts_with("FATAL:  57P01: "), "{said}");
    assert!(is_closed(stream));
}

#[test]
fn a_long_statement_elsewhere_can_be_left_alone() {
    let (database, mut client) = database_on(Tree::Ours);
    let mut session = database.connect();
    let pid = row(&mut session, "select pg_backend_pid()");
    let question = format!(
        "select londiste._ask({}, 'select pg_catalog.pg_sleep(1000)')",
        quoted(&dsn(&database))
    );
    let asking = thread::spawn(move || outcome(&mut session, &question));
    let asked = "select pid from pg_stat_activity
                  where datname = current_database() and query = 'select pg_catalog.pg_sleep(1000)'
                    and wait_event = 'PgSleep' and application_name = 'pgq'";
    assert!(wait_until(PATIENCE, || row(&mut client, asked) != "nothing"));
    run(&mut client, &format!("select pg_cancel_backend({pid})"));
    assert!(asking.join().unwrap().starts_with("ERROR 57014: "));
    run(&mut client, &format!("select pg_terminate_backend(({asked}))"));
}

#[test]
fn answers_and_errors_come_through_and_connections_go() {
    let (database, mut client) = database_on(Tree::Ours);
    let location = quoted(&dsn(&database));
    let ask = |client: &mut Client, rest: &str| {
        outcome(client, &format!("select londiste._ask({location}, {rest})"))
    };
    for (rest, expected) in [
        ("'select $1::text || coalesce($2::text, ''null'')', 'löwe', null", "löwenull"),
        ("'select null::text'", "∅"),
        ("'select repeat(''x'', 100000)', variadic '{}'", &*"x".repeat(100_000)),
        ("'select 1, 2'", "ERROR 21000: the other server's answer is not one value"),
        ("'select 1 where false'", "ERROR 21000: the other server's answer is not one value"),
        ("'copy (select 1) to stdout'", "ERROR 21000: the other server's answer is not one value"),
        ("'create temp table x ()'", "ERROR 21000: the other server's answer is not one value"),
        ("'select 1/0'", "ERROR 22012: the other server: division by zero (SQLSTATE 22012)"),
        (
            "'select pgq.create_queue(null)'",
            "ERROR 22004: the other server: Invalid NULL value (SQLSTATE 22004)",
        ),
        (
            "'select no_such'",
            "ERROR 42703: the other server: column \"no_such\" does not exist (SQLSTATE 42703)",
        ),
        (
            "'select pg_terminate_backend(pg_backend_pid())'",
            "ERROR 57P01: the other server: terminating connection due to administrator command (SQLSTATE 57P01)",
        ),
        ("null", "ERROR 22004: statement must not be NULL"),
    ] {
        assert_eq!(ask(&mut client, rest), expected, "{rest}");
    }
    assert!(
        outcome(&mut client, "select londiste._ask('host=/nonexistent', 'select 1')")
            .starts_with("ERROR 08001: connection to server on socket")
    );
    // None is left, whatever happened; those that go may still be seen.
    let left = "select count(*) from pg_stat_activity
                 where datname = current_database() and application_name = 'pgq'";
    assert!(wait_until(PATIENCE, || row(&mut client, left) == "0"));
}

/// What SQL in another encoding says is taken over, or refused.
#[test]
fn answers_are_in_the_encoding_of_the_database() {
    let (database, mut client) = database_on(Tree::Ours);
    let latin = format!("{}_latin", database.name());
    run(
        &mut client,
        &format!("create database {latin} template template0 encoding latin1 locale 'C'"),
    );
    let location = dsn(&database);
    let mut there = database.cluster().connect(&latin);
    run(&mut there, "create extension londiste cascade");
    let ask = |text: &str| {
        format!("select londiste._ask({}, 'select $1', {})", quoted(&location), quoted(text))
    };
    assert_eq!(outcome(&mut there, &ask("löwe")), "löwe");
    let euro = format!("select londiste._ask({}, 'select chr(8364)')", quoted(&location));
    assert!(outcome(&mut there, &euro).starts_with("ERROR 22P05: the other server: "));
    drop(there);
    run(&mut client, &format!("drop database {latin}"));
}

#[test]
fn who_is_not_superuser_needs_a_password_that_is_asked_for() {
    let mut cluster = Cluster::builder().set("fsync", "off").create();
    let hba = cluster.data_dir().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).unwrap();
    std::fs::write(&hba, format!("local all guarded scram-sha-256\n{rules}")).unwrap();
    cluster.start();
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "create extension londiste cascade;
         create role writer login in role londiste_writer;
         create role stranger login;
         create role guarded login password 'hunter2'",
    );
    let mut writer = cluster.connect_as("postgres", "writer");
    let ask = |client: &mut Client, location: &str| {
        let sql = format!("select londiste._ask({}, 'select session_user')", quoted(location));
        outcome(client, &sql)
    };
    let trusted = cluster.conninfo("postgres");
    let guarded = cluster.conninfo_as("postgres", "guarded");
    assert_eq!(ask(&mut client, &trusted), "postgres");
    assert_eq!(ask(&mut writer, &trusted), "ERROR 42501: a password is required");
    assert_eq!(
        ask(&mut writer, &format!("{trusted} password=hunter2")),
        "ERROR 42501: the other server has not asked for the password"
    );
    assert_eq!(ask(&mut writer, &format!("{guarded} password=hunter2")), "guarded");
    for key in ["service", "passfile", "sslkey", "options", "sslrootcert"] {
        assert_eq!(
            ask(&mut writer, &format!("{guarded} password=hunter2 {key}=x")),
            format!("ERROR 42501: only superusers may use \"{key}\" in a connection string")
        );
    }
    let mut stranger = cluster.connect_as("postgres", "stranger");
    for sql in ["select londiste._ask('', '')", "select londiste.create_root('q', 'n', '')"] {
        assert!(outcome(&mut stranger, sql).starts_with("ERROR 42501: permission denied"));
    }
    // What is wrong is said without the password.
    for location in [
        "host=x password=hunter2 hunter2",
        "password='hunter2",
        "postgresql://u:hunter2@[x",
        "hunter2",
        &format!("{guarded} password=nothunter2"),
        &format!("{guarded} password=hunter2 sslmode=no"),
    ] {
        let answer = ask(&mut client, location);
        assert!(answer.starts_with("ERROR 22023") || answer.starts_with("ERROR 08001"), "{answer}");
        assert!(!answer.contains("hunter2"), "{answer}");
    }
}
