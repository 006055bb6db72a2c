//! No statement of ours is compiled by JIT: neither at a server's default settings nor where
//! everything is worth compiling to it.
//!
//! The servers here have a JIT provider of the tests' own, which writes into the log what it was
//! asked to compile.

use std::path::Path;
use std::process::Command;

use pgq_tests::{Cluster, PATIENCE, Tree, major_version, wait_until};
use postgres::Client;

use crate::companions::node::scenario;
use pgq_tests::query::{rows, run, try_rows};

/// What everybody does, statement by statement.
const WORKLOAD: &str = include_str!("workload.sql");

/// A server with default settings, but for the worker's periods, and with the spy.
fn watched() -> Cluster {
    let mut cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.discovery_period", "100ms")
        .set("pgq.ticker_period", "20ms")
        .set("pgq.retry_period", "20ms")
        .set("pgq.maint_period", "50ms")
        .set("pgq.vacuum_threshold", "1")
        .set("track_functions", "all")
        .set("fsync", "off")
        .create();
    let spy = build_spy(cluster.dir());
    // The server looks for a provider in its own library directory.
    let place = format!("{}{}", "../".repeat(30), spy.strip_prefix('/').unwrap());
    cluster.write_settings(&[("jit_provider".to_owned(), place)]);
    cluster.start();
    cluster
}

/// Compile the provider into the directory; its path without `.so`.
fn build_spy(directory: &Path) -> String {
    let server = Tree::Ours.bin().join("../../../../include/postgresql").join(major_version());
    let spy = directory.join("spy");
    let status = Command::new("cc")
        .args(["-O", "-shared", "-fPIC", "-I"])
        .arg(server.join("server"))
        .arg("-o")
        .arg(spy.with_extension("so"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/suite/pgq/jit/spy.c"))
        .status()
        .unwrap();
    assert!(status.success(), "cc spy.c");
    spy.display().to_string()
}

/// Statements that the spy was asked to compile: the clients' own, and others.
fn compiled(cluster: &Cluster, whose: &str) -> Vec<String> {
    let mark = format!("JIT of {whose} statement: ");
    let log = cluster.log();
    let mut found: Vec<_> = log
        .split(&mark)
        .skip(1)
        .map(|rest| {
            // Lines that go on begin with a tab.
            let mut lines = rest.lines();
            let first = lines.next().unwrap_or_default();
            lines
                .take_while(|line| line.starts_with('\t'))
                .fold(first.to_owned(), |text, line| format!("{text}\n{line}"))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A queue that is ticked with every event, while a transaction of another session stays open: from
/// some tick on, every tick is laid by the way for transactions that may have been overtaken.
fn tick_beside_an_open_transaction(cluster: &Cluster, client: &mut Client) {
    let mut open = cluster.connect("postgres");
    run(&mut open, "begin; select txid_current()");
    run(client, "select pgq.create_queue('busy')");
    run(client, "select pgq.set_queue_config('busy', 'ticker_max_count', '1')");
    run(client, "select pgq.register_consumer('busy', 'c')");
    let count = "select count(*) from pgq.tick t join pgq.queue q on q.queue_id = t.tick_queue where queue_name = 'busy'";
    let mut ticks = 0;
    // By hand, and by the worker, which ticks for the consumer that waits.
    while ticks < 30 {
        run(client, "select pgq.insert_event('busy', 't', 'd')");
        run(client, "select pgq.ticker('busy')");
        ticks = rows(client, count)[0].parse().unwrap();
    }
    let rarely = "update pgq.queue set queue_ticker_max_count = 1000000, queue_ticker_max_lag = '1 hour', queue_ticker_idle_period = '1 hour'
                    where queue_name = 'busy'";
    run(client, rarely);
    while ticks < 60 {
        run(client, "select pgq.insert_event('busy', 't', 'd')");
        run(client, "call pgq.wait_batch('busy', 'c', '1 s')");
        run(
            client,
            "select pgq.finish_batch(sub_batch) from pgq.subscription where sub_batch is not null",
        );
        ticks = rows(client, count)[0].parse().unwrap();
    }
    run(&mut open, "rollback");
}

fn work(cluster: &Cluster, settings: &str) {
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension pgq; create extension pgq_coop; create extension pgq_ext");
    run(&mut client, "create database nodes");
    let mut nodes = cluster.connect("nodes");
    run(&mut nodes, "create extension pgq; create extension pgq_node");
    // Installing is not what is watched.
    run(&mut client, settings);
    cluster.reload();
    let running = "select count(*) from pgq.worker_status() where state = 'running'";
    assert!(wait_until(PATIENCE, || rows(&mut client, running) == ["2"]));
    let (mut client, mut nodes) = (cluster.connect("postgres"), cluster.connect("nodes"));

    for statement in WORKLOAD.split(";\n").filter(|statement| !statement.trim().is_empty()) {
        if let Err(error) = try_rows(&mut client, statement) {
            panic!("{statement}: {error:?}");
        }
    }
    tick_beside_an_open_transaction(cluster, &mut client);
    let done = "select rotations > 0 and retries_moved > 0 and vacuums > 0 and demand_ticks > 0
                  from pgq.worker_status() where database_name = 'postgres'";
    let is_done = wait_until(PATIENCE, || {
        run(
            &mut client,
            "select pgq.event_retry_raw('busy', 'c', now(), nextval('pgq.event_1_id_seq'), now(), 1, 't', 'd', null, null, null, null)",
        );
        rows(&mut client, done) == ["t"]
    });
    assert!(is_done, "{:#?}", rows(&mut client, "select s from pgq.worker_status() s"));
    // The scenario counts ticks.
    run(&mut nodes, "select pgq.stop_worker()");
    assert!(wait_until(PATIENCE, || rows(&mut client, running) == ["1"]));
    scenario::play(&mut nodes);
    for call in ["node_health()", "version()", "cancel_demote('none')"] {
        run(&mut nodes, &format!("select * from pgq_node.{call}"));
    }
    run(&mut client, "select pgq.stop_worker()");
    run(&mut client, "select pgq.start_worker()");

    // The workload leaves nothing out.
    let left_out = |client: &mut Client, schemas: &str| {
        rows(
            client,
            &format!(
                "select p.oid::regprocedure
                   from pg_proc p
                  where p.pronamespace::regnamespace::text in ({schemas})
                    -- what is expanded into its query is part of that
                    and not (p.prolang = (select oid from pg_language where lanname = 'sql')
                             and p.proconfig is null)
                    and p.proname !~ '^_'
                    and (p.proacl is null or exists (
                            select 1 from aclexplode(p.proacl) a where a.grantee <> p.proowner))
                    and not exists (select 1 from pg_stat_user_functions s where s.funcid = p.oid)"
            ),
        )
    };
    let mut never = Vec::new();
    let complete = wait_until(PATIENCE, || {
        never = left_out(&mut client, "'pgq', 'pgq_coop', 'pgq_ext'");
        never.extend(left_out(&mut nodes, "'pgq_node'"));
        never.is_empty()
    });
    assert!(complete, "not in the workload: {never:#?}");
}

/// That the spy sees what is compiled, by a statement whose cost passes the default limits.
fn control(cluster: &Cluster) {
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "select count(*) from generate_series(1, 2) a, pg_class b, pg_class c, pg_class d where a > 0",
    );
    run(
        &mut client,
        "do $$ begin perform count(*) from pg_attribute b, pg_attribute c where b.attnum + c.attnum < -1000; end $$",
    );
    assert!(!compiled(cluster, "a client's").is_empty(), "{}", cluster.log());
    assert_eq!(compiled(cluster, "an inner").len(), 1, "{:?}", compiled(cluster, "an inner"));
}

#[test]
fn nothing_of_ours_is_compiled_at_default_settings() {
    let cluster = watched();
    work(&cluster, "select 1");
    assert_eq!(compiled(&cluster, "an inner"), Vec::<String>::new());
    assert_eq!(compiled(&cluster, "a client's"), Vec::<String>::new());
    control(&cluster);
}

#[test]
fn nothing_of_ours_is_compiled_where_everything_is_worth_compiling() {
    let cluster = watched();
    work(&cluster, "alter system set jit_above_cost = 0");
    let ours = compiled(&cluster, "an inner");
    assert!(ours.is_empty(), "{}", ours.join("\n---\n"));
    assert!(!compiled(&cluster, "a client's").is_empty());
}
