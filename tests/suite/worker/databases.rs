//! Databases that come, go, and get or lose the extension.

use pgq_tests::{Cluster, PATIENCE, wait_until};
use postgres::Client;

use super::{consume, number, preloaded, quiet_queue, worker_pid};

fn running(client: &mut Client) -> i64 {
    number(client, "select count(*) from pg_stat_activity where backend_type = 'pgq worker'")
}

#[test]
fn a_database_that_is_created_later_gets_a_worker() {
    let cluster = preloaded().start();
    let mut main = cluster.connect("postgres");
    main.batch_execute("create database later").unwrap();
    let mut client = cluster.connect("later");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
    // Others are looked into, and left.
    assert!(wait_until(PATIENCE, || running(&mut main) == 1));
}

#[test]
fn the_extension_can_be_dropped_and_created_again() {
    let cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    for round in ["first", "second", "third"] {
        client.batch_execute("create extension pgq").unwrap();
        quiet_queue(&mut client, &["c"]);
        worker_pid(&mut client);
        client.execute("select pgq.insert_event('q', 'type', $1)", &[&round]).unwrap();
        assert_eq!(consume(&mut client, "c", 1), [round]);
        client.batch_execute("select pgq.drop_queue('q', true)").unwrap();
        client.batch_execute("drop extension pgq").unwrap();
        if round == "second" {
            // The third time it is created while the worker is still there.
            continue;
        }
        assert!(wait_until(PATIENCE, || running(&mut client) == 0));
    }
}

/// The server waits five seconds for other sessions to leave, and then refuses.
#[test]
fn the_worker_steps_aside_for_drop_rename_and_copy() {
    let cluster: Cluster = preloaded().start();
    let mut main = cluster.connect("postgres");
    main.batch_execute("create database one").unwrap();
    let mut client = cluster.connect("one");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    drop(client);

    main.batch_execute("create database copy template one").unwrap();
    let mut client = cluster.connect("one");
    worker_pid(&mut client);
    drop(client);
    // The copy has the extension too.
    let mut copy = cluster.connect("copy");
    worker_pid(&mut copy);
    drop(copy);

    main.batch_execute("alter database one rename to two").unwrap();
    let mut client = cluster.connect("two");
    worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
    drop(client);

    main.batch_execute("drop database two").unwrap();
    main.batch_execute("drop database copy").unwrap();
    assert!(wait_until(PATIENCE, || running(&mut main) == 0));
    main.batch_execute("create database two").unwrap();
    assert!(!cluster.log().contains("pgq worker  FATAL"), "{}", cluster.log());
}

#[test]
fn more_databases_than_workers_are_told_and_served_later() {
    let cluster = preloaded().set("pgq.max_workers", 1).start();
    let mut main = cluster.connect("postgres");
    main.batch_execute("create extension pgq").unwrap();
    worker_pid(&mut main);
    main.batch_execute("create database second").unwrap();
    let mut second = cluster.connect("second");
    second.batch_execute("create extension pgq").unwrap();
    assert!(wait_until(PATIENCE, || cluster.log().contains("all pgq.max_workers are in use")));
    let told = "select count(*) from pgq.queue_health() where code = 'worker_not_running'";
    assert_eq!(number(&mut second, told), 1);
    main.batch_execute("drop extension pgq").unwrap();
    worker_pid(&mut second);
    assert!(wait_until(PATIENCE, || number(&mut second, told) == 0));
}

/// Looking for the extension costs each database one short session, not one every few seconds.
#[test]
fn two_hundred_databases_of_which_three_have_the_extension() {
    // Autovacuum's transactions would be counted too.
    let cluster = preloaded().set("pgq.discovery_period", "100ms").set("autovacuum", "off").start();
    let mut main = cluster.connect("postgres");
    for n in 0..200 {
        main.batch_execute(&format!("create database d{n} strategy file_copy")).unwrap();
    }
    let mut having: Vec<Client> =
        ["d0", "d77", "d199"].iter().map(|name| cluster.connect(name)).collect();
    for client in &mut having {
        client.batch_execute("create extension pgq").unwrap();
    }
    for client in &mut having {
        worker_pid(client);
    }
    // Every database was looked into when nobody is on the way any more.
    let looking = "select count(*) from pg_stat_activity where backend_type = 'pgq worker' and datname not in ('d0', 'd77', 'd199')";
    let commits = "select sum(xact_commit) from pg_stat_database where datname like 'd%' and datname not in ('d0', 'd77', 'd199')";
    let seen = "select count(*) from pg_stat_database where datname like 'd%' and datname not in ('d0', 'd77', 'd199') and xact_commit > 0";
    let mut before = -1;
    assert!(wait_until(PATIENCE * 2, || {
        let now = number(&mut main, commits);
        let still =
            now == before && number(&mut main, seen) == 197 && number(&mut main, looking) == 0;
        before = now;
        still
    }));
    // Several rounds of discovery later nothing has been there again.
    for client in &mut having {
        quiet_queue(client, &["c"]);
        client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
        assert_eq!(consume(client, "c", 1), ["data"]);
    }
    assert_eq!(running(&mut main), 3);
    assert_eq!(number(&mut main, commits), before);
}

/// A handle that the server had not given was freed, which took the whole server down.
#[test]
fn the_launcher_waits_for_a_free_process() {
    // The server's own launcher has one, ours the second.
    let cluster = preloaded().set("max_worker_processes", 3).start();
    let mut main = cluster.connect("postgres");
    main.batch_execute("create extension pgq").unwrap();
    main.batch_execute("create database other").unwrap();
    worker_pid(&mut main);
    let launcher = "select pid from pg_stat_activity where backend_type = 'pgq launcher'";
    let before = number(&mut main, launcher);
    let mut other = cluster.connect("other");
    other.batch_execute("create extension pgq").unwrap();
    let told =
        || cluster.log().contains("no background worker slot is free for database \"other\"");
    assert!(wait_until(PATIENCE, told), "{}", cluster.log());
    assert_eq!(number(&mut main, launcher), before);
    main.batch_execute("drop extension pgq").unwrap();
    worker_pid(&mut other);
    assert_eq!(number(&mut main, launcher), before);
}
