//! As whom the worker inside the server connects to a provider, and where a password goes.

use std::net::TcpListener;

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Cluster, PATIENCE, wait_until};
use postgres::Client;

/// One server with a root and a leaf, at which role `app` has to give a password and owns the
/// tables.
struct Guarded {
    cluster: Cluster,
}

fn awaits(client: &mut Client, sql: &str, answer: &str) {
    let mut last = String::new();
    let reached = wait_until(PATIENCE, || {
        last = rows(client, sql).join("\n");
        last == answer
    });
    let status = outcome(client, "select w from londiste.worker_status() w");
    assert!(reached, "{sql}: {last}, not {answer}; {status}");
}

impl Guarded {
    fn new() -> Self {
        let mut cluster = Cluster::builder()
            .set("shared_preload_libraries", "pgq")
            .set("max_worker_processes", 30)
            .set("fsync", "off")
            .create();
        let hba = cluster.data_dir().join("pg_hba.conf");
        let rules = std::fs::read_to_string(&hba).unwrap();
        let guarded = "host all app,boss 127.0.0.1/32 scram-sha-256";
        std::fs::write(&hba, format!("{guarded}\n{rules}")).unwrap();
        cluster.start();
        let mut client = cluster.connect("postgres");
        run(
            &mut client,
            "create role app login password 'hunter2';
             create role boss login superuser password 'hunter3'",
        );
        for name in ["root", "leaf"] {
            run(&mut client, &format!("create database {name}"));
            let mut here = cluster.connect(name);
            run(
                &mut here,
                "create extension londiste cascade; grant londiste_writer to app;
                 create table t (id int primary key, v text); alter table t owner to app",
            );
        }
        let guarded = Self { cluster };
        let location = guarded.location("root");
        let (mut root, mut leaf) = (guarded.connect("root"), guarded.connect("leaf"));
        let create =
            format!("select ret_code from londiste.create_root('q', 'root', '{location}')");
        assert_eq!(row(&mut root, &create), "200");
        const ADD: &str =
            "select ret_code from londiste.local_add_table('q', 'public.t', '{expect_sync}')";
        assert_eq!(row(&mut root, ADD), "200");
        let create = format!(
            "select ret_code from londiste.create_leaf('q', 'leaf', '{}', '{location}')",
            guarded.location("leaf")
        );
        assert_eq!(row(&mut leaf, &create), "200");
        assert_eq!(row(&mut leaf, ADD), "200");
        guarded
    }

    fn connect(&self, database: &str) -> Client {
        self.cluster.connect(database)
    }

    /// By the socket, where all are trusted.
    fn location(&self, database: &str) -> String {
        self.cluster.conninfo(database).replace('\'', "")
    }

    /// A foreign server for the root, where passwords are asked for.
    fn serve(&self, client: &mut Client) {
        run(
            client,
            &format!(
                "create server root foreign data wrapper londiste_fdw
                     options (host '127.0.0.1', port '{}', dbname 'root', sslmode 'disable');
                 grant usage on foreign server root to app",
                self.cluster.port()
            ),
        );
    }
}

const ERROR: &str = "select sqlstate, split_part(error, ':', 1) from londiste.worker_status()";

#[test]
fn a_role_that_is_no_superuser_replicates_with_a_password_that_is_asked_for() {
    let guarded = Guarded::new();
    let (mut root, mut leaf) = (guarded.connect("root"), guarded.connect("leaf"));
    let mut app = guarded.cluster.connect_as("leaf", "postgres");
    run(&mut app, "set role app; select londiste.start_worker('q')");
    awaits(&mut leaf, ERROR, "28000|there is no foreign server for node \"root\"");
    guarded.serve(&mut leaf);
    awaits(&mut leaf, ERROR, "28000|a password is required to connect to node \"root\"");
    run(
        &mut leaf,
        "create user mapping for app server root options (user 'boss', password 'hunter3')",
    );
    awaits(&mut leaf, ERROR, "28000|the role at node \"root\" is a superuser there");
    run(&mut leaf, "alter user mapping for app server root options (set password 'wrong')");
    awaits(&mut leaf, "select sqlstate from londiste.worker_status()", "08001");
    let shown = "select count(*) from londiste.worker_status() where error like '%wrong%'";
    assert_eq!(row(&mut leaf, shown), "0");
    run(
        &mut leaf,
        "alter user mapping for app server root options (set user 'app', set password 'hunter2')",
    );
    run(&mut root, "insert into t values (1, 'a')");
    awaits(&mut leaf, "select v from t", "a");
    awaits(&mut leaf, "select state, worker_role from londiste.worker_status()", "working|app");

    // A password that nobody asks for proves nothing: that was trust in the server's own user.
    run(
        &mut leaf,
        &format!("alter server root options (set host '{}')", guarded.cluster.dir().display()),
    );
    run(&mut leaf, "update londiste.worker set parallel_copies = 2");
    awaits(&mut leaf, ERROR, "28000|node \"root\" has not asked for the password");
    for (option, code) in [("options '-c x=y'", "28000"), ("passfile '/x'", "28000")] {
        run(&mut leaf, &format!("alter server root options (set host '127.0.0.1', add {option})"));
        let name = option.split(' ').next().unwrap();
        let words = format!("only superusers may connect with \"{name}\", to \"root\"");
        awaits(&mut leaf, ERROR, &format!("{code}|{words}"));
        run(&mut leaf, &format!("alter server root options (drop {name})"));
    }
    run(&mut root, "insert into t values (2, 'b')");
    awaits(&mut leaf, "select count(*) from t", "2");
    // Whoever owns the server says whose scripts come.
    run(
        &mut leaf,
        "create role other; grant usage on foreign data wrapper londiste_fdw to other;
         alter server root owner to other; update londiste.worker set parallel_copies = 4",
    );
    let words = "foreign server \"root\" belongs to a role that has not the worker's rights";
    awaits(&mut leaf, ERROR, &format!("28000|{words}"));
    run(&mut leaf, "grant other to app; update londiste.worker set parallel_copies = 5");
    run(&mut root, "insert into t values (3, 'c')");
    awaits(&mut leaf, "select count(*) from t", "3");
    run(&mut leaf, "alter server root owner to postgres; revoke other from app");
    // The right to the server is the role's, or it is not.
    run(&mut leaf, "revoke usage on foreign server root from app");
    run(&mut leaf, "update londiste.worker set parallel_copies = 3");
    awaits(&mut leaf, "select sqlstate from londiste.worker_status()", "42501");
}

/// Whoever writes locations does not get a password that was given for somewhere else.
#[test]
fn a_location_does_not_say_where_a_password_goes() {
    let guarded = Guarded::new();
    let (mut root, mut leaf) = (guarded.connect("root"), guarded.connect("leaf"));
    guarded.serve(&mut leaf);
    run(
        &mut leaf,
        "create user mapping for app server root options (user 'app', password 'hunter2')",
    );
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    run(
        &mut leaf,
        &format!(
            "select pgq_node.register_location('q', 'root',
                 'host=127.0.0.1 port={port} dbname=root sslmode=disable', false)"
        ),
    );
    let mut app = guarded.cluster.connect_as("leaf", "postgres");
    run(&mut app, "set role app; select londiste.start_worker('q')");
    run(&mut root, "insert into t values (1, 'a')");
    awaits(&mut leaf, "select v from t", "a");
    assert!(trap.accept().is_err(), "somebody has connected by the location");
    // A server that does not say its host would be the one of libpq's environment.
    run(&mut leaf, "alter server root options (drop host)");
    run(&mut leaf, "update londiste.worker set parallel_copies = 2");
    awaits(&mut leaf, ERROR, "HV00N|foreign server \"root\" does not say its host");
    assert!(trap.accept().is_err(), "somebody has connected by the location");
}

#[test]
fn options_of_servers_are_libpqs_and_have_their_place() {
    let cluster = Cluster::builder().set("fsync", "off").start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension londiste cascade");
    run(&mut client, "create server s foreign data wrapper londiste_fdw options (host 'x')");
    for (sql, said) in [
        ("alter server s options (add port '1', add dbname 'd', add sslmode 'require')", "nothing"),
        (
            "alter server s options (add password 'p')",
            "option \"password\" belongs to the user mapping",
        ),
        ("alter server s options (add user 'u')", "option \"user\" belongs to the user mapping"),
        ("alter server s options (add updatable 'x')", "invalid option \"updatable\""),
        ("alter server s options (add replication '1')", "invalid option \"replication\""),
        (
            "create user mapping for public server s options (host 'y')",
            "option \"host\" belongs to the foreign server",
        ),
        (
            "create user mapping for public server s options (service 'y')",
            "option \"service\" belongs to the foreign server",
        ),
        ("create user mapping for public server s options (user 'u', password 'p')", "nothing"),
        (
            "alter foreign data wrapper londiste_fdw options (add host 'x')",
            "invalid option \"host\"",
        ),
    ] {
        let answer = outcome(&mut client, sql);
        let expected = match said {
            "nothing" => String::new(),
            said => format!("ERROR HV00D: {said}"),
        };
        assert_eq!(answer, expected, "{sql}");
    }
}
