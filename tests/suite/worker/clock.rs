//! The clock on the wall is set back and forward while the worker runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgq_tests::{Cluster, ClusterBuilder, PATIENCE, wait_until};
use postgres::Client;

use super::{events, number, preloaded, wait_batch, worker_pid};

/// What a polling consumer gets next, which only a tick by rule can give it.
fn polled(client: &mut Client, data: &str) {
    client.execute("select pgq.insert_event('q', 'type', $1)", &[&data]).unwrap();
    let mut seen = Vec::new();
    let came = wait_until(PATIENCE, || {
        let batch: Option<i64> =
            client.query_one("select pgq.next_batch('q', 'c')", &[]).unwrap().get(0);
        if let Some(batch) = batch {
            seen.extend(events(client, batch));
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
        !seen.is_empty()
    });
    assert!(came, "no tick for {data}");
    assert_eq!(seen, [data]);
}

#[test]
fn ticks_and_waits_go_on_when_the_clock_is_set() {
    let builder = preloaded().set("pgq.ticker_period", "50ms").set("pgq.maint_period", "200ms");
    let (cluster, step) = with_clock(builder);
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq;
             select pgq.create_queue('q');
             select pgq.register_consumer('q', 'c');
             select pgq.set_queue_config('q', 'ticker_max_lag', '200 ms')",
        )
        .unwrap();
    worker_pid(&mut client);
    polled(&mut client, "before");
    let hour = |client: &mut Client| number(client, "extract(epoch from now()) / 3600");
    let start = hour(&mut client);

    step(-10);
    assert!(hour(&mut client) < start - 8, "the server does not see the clock that is set");
    polled(&mut client, "set back");
    // The time to wait for is not measured on the wall.
    let waiter = std::thread::spawn({
        let mut client = cluster.connect("postgres");
        move || {
            // Whatever idle ticks there are first.
            while let Some(batch) = wait_batch(&mut client, "c", "300 ms") {
                assert!(events(&mut client, batch).is_empty());
                client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
            }
        }
    });
    step(-20);
    assert!(wait_until(PATIENCE, || waiter.is_finished()), "wait_batch waits for the clock");
    waiter.join().unwrap();
    polled(&mut client, "set back again");

    step(10);
    assert!(hour(&mut client) > start + 8);
    polled(&mut client, "set forward");
    let findings = "select string_agg(code || ': ' || finding, chr(10)) from pgq.queue_health()";
    let mut found = None;
    let is_healthy = wait_until(PATIENCE, || {
        found = client.query_one(findings, &[]).unwrap().get::<_, Option<String>>(0);
        found.is_none()
    });
    assert!(is_healthy, "{found:?}");
}

#[test]
fn a_clock_that_is_set_forward_ends_no_maintenance_that_keeps_to_its_limit() {
    let (cluster, step) = with_clock(preloaded().set("pgq.maint_period", "100ms"));
    let mut client = cluster.connect("postgres");
    // A function that goes on until the clock has been set, and a moment more.
    client
        .batch_execute(
            "create extension pgq;
             create table runs (at timestamptz default clock_timestamp());
             grant insert on runs to public;
             create function slow(queue text) returns integer language plpgsql as $$
             declare
                 begun timestamptz := clock_timestamp();
             begin
                 for n in 1 .. 100 loop
                     perform pg_sleep(0.1);
                     exit when clock_timestamp() > begun + interval '1 hour';
                 end loop;
                 perform pg_sleep(0.1);
                 insert into public.runs default values;
                 return 0;
             end $$;
             select pgq.create_queue('q');
             update pgq.queue set queue_extra_maint = array['public.slow']",
        )
        .unwrap();
    let pid = worker_pid(&mut client);
    let asleep = "select count(*) from pg_stat_activity
                   where backend_type = 'pgq worker' and wait_event = 'PgSleep'";
    for round in 1..=3 {
        assert!(wait_until(PATIENCE, || number(&mut client, asleep) == 1));
        let runs = number(&mut client, "select count(*) from runs");
        step(2 * round);
        assert!(wait_until(PATIENCE, || number(&mut client, "select count(*) from runs") > runs));
    }
    assert_eq!(worker_pid(&mut client), pid, "the worker was ended");
    assert_eq!(number(&mut client, "select sum(errors) from pgq.worker_status()"), 0);
}

/// A server whose clock goes as many hours ahead as the returned function says.
fn with_clock(builder: ClusterBuilder) -> (Cluster, impl Fn(i32)) {
    let mut cluster = builder.create();
    let clock = cluster.dir().join("clock");
    let step = {
        let clock = clock.clone();
        move |hours: i32| {
            // In one piece, since the server reads the file all the time.
            let next = clock.with_extension("next");
            fs::write(&next, (hours * 3600).to_string()).unwrap();
            fs::rename(&next, &clock).unwrap();
        }
    };
    step(0);
    let library = library(cluster.dir());
    cluster.set_env("LD_PRELOAD", library.display());
    cluster.set_env("PGQ_CLOCK", clock.display());
    cluster.start();
    (cluster, step)
}

/// Compile the clock into the cluster's directory.
pub(super) fn library(directory: &Path) -> PathBuf {
    let library = directory.join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/suite/worker/clock.c");
    let mut compiler = Command::new("cc");
    let status = compiler.args(["-O", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(status.unwrap().success(), "cc {source}");
    library
}
