//! The worker's process: started, killed, stopped with the server, told of new settings.

use std::path::Path;
use std::process::Command;

use pgq_tests::{PATIENCE, Stop, wait_until};

use super::{consume, number, preloaded, quiet_queue, worker_pid};

fn kill(signal: &str, pid: i64) {
    let status = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill {signal} {pid}");
}

#[test]
fn a_terminated_worker_is_started_again() {
    let cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    let first = worker_pid(&mut client);
    client.execute(&format!("select pg_terminate_backend({first})"), &[]).unwrap();
    assert!(wait_until(PATIENCE, || {
        number(
            &mut client,
            &format!(
                "select count(*) from pgq.worker_status() where state = 'running' and pid <> {first} and restarts = 1"
            ),
        ) == 1
    }));
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
}

#[test]
fn the_launcher_can_end_without_harm() {
    let cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    let worker = worker_pid(&mut client);
    let launcher = "select pid from pg_stat_activity where backend_type = 'pgq launcher'";
    let first = number(&mut client, launcher);
    client.execute(&format!("select pg_terminate_backend({first})"), &[]).unwrap();
    // The postmaster starts it again after five seconds; the worker stays.
    let second = format!(
        "select count(*) from pg_stat_activity where backend_type = 'pgq launcher' and pid <> {first}"
    );
    assert!(wait_until(PATIENCE, || number(&mut client, &second) == 1));
    assert_eq!(worker_pid(&mut client), worker);
    // And the new launcher takes care of it.
    client.execute(&format!("select pg_terminate_backend({worker})"), &[]).unwrap();
    assert!(wait_until(PATIENCE, || {
        number(
            &mut client,
            &format!(
                "select count(*) from pgq.worker_status() where state = 'running' and pid <> {worker}"
            ),
        ) == 1
    }));
}

#[test]
fn nothing_is_lost_when_a_worker_is_killed() {
    let mut cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    let first = worker_pid(&mut client);
    client.execute("select pgq.insert_event('q', 'type', 'before')", &[]).unwrap();
    // The postmaster restarts all backends, as after any crash.
    kill("-KILL", first.into());
    assert!(wait_until(PATIENCE, || {
        cluster.try_connect("postgres", "postgres").is_ok_and(|mut client| {
            client
                .query(
                    "select 1 from pgq.worker_status() where state = 'running' and pid <> $1",
                    &[&first],
                )
                .is_ok_and(|rows| !rows.is_empty())
        })
    }));
    let mut client = cluster.connect("postgres");
    assert_ne!(worker_pid(&mut client), first);
    client.execute("select pgq.insert_event('q', 'type', 'after')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 2), ["before", "after"]);
    drop(client);
    cluster.stop(Stop::Fast);
}

#[test]
fn the_worker_ends_with_the_postmaster() {
    let mut cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    let worker = worker_pid(&mut client);
    let launcher =
        number(&mut client, "select pid from pg_stat_activity where backend_type = 'pgq launcher'");
    kill("-KILL", cluster.postmaster_pid().into());
    let is_there = |pid: i64| Path::new(&format!("/proc/{pid}")).exists();
    assert!(wait_until(PATIENCE, || !is_there(worker.into()) && !is_there(launcher)));
    drop(client);
    cluster.stop_collected();
    cluster.start();
    worker_pid(&mut cluster.connect("postgres"));
}

#[test]
fn the_server_stops_while_the_worker_is_in_a_query() {
    let mut cluster =
        preloaded().set("pgq.worker_lock_timeout", "1h").set("pgq.ticker_period", "10ms").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq; select pgq.create_queue('q')").unwrap();
    let worker = worker_pid(&mut client);
    let mut locker = cluster.connect("postgres");
    locker.batch_execute("begin; lock table pgq.queue in access exclusive mode").unwrap();
    let waits = format!(
        "select count(*) from pg_stat_activity where pid = {worker} and wait_event_type = 'Lock'"
    );
    assert!(wait_until(PATIENCE, || number(&mut client, &waits) == 1));
    drop(client);
    cluster.stop(Stop::Fast);
    assert!(cluster.log().contains("database system is shut down"));
}

#[test]
fn new_settings_take_effect_at_once() {
    let cluster = preloaded().set("pgq.ticker_period", "1h").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    worker_pid(&mut client);
    client
        .batch_execute(
            "select pgq.create_queue('q');
             select pgq.set_queue_config('q', 'ticker_idle_period', '0');
             select pgq.set_queue_config('q', 'ticker_max_lag', '0')",
        )
        .unwrap();
    let ticks = number(&mut client, "select count(*) from pgq.tick");
    cluster.write_settings(&[("pgq.ticker_period".to_owned(), "10ms".to_owned())]);
    cluster.reload();
    assert!(
        wait_until(PATIENCE, || number(&mut client, "select count(*) from pgq.tick") > ticks + 2)
    );
}

#[test]
fn the_log_has_a_line_for_each_change_and_none_for_routine() {
    let mut cluster = preloaded()
        .set("pgq.ticker_period", "10ms")
        .set("pgq.maint_period", "10ms")
        .set("pgq.retry_period", "10ms")
        .start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    client
        .batch_execute(
            "select pgq.create_queue('q');
             select pgq.set_queue_config('q', 'ticker_idle_period', '0');
             select pgq.set_queue_config('q', 'ticker_max_lag', '0')",
        )
        .unwrap();
    assert!(wait_until(PATIENCE, || number(&mut client, "select count(*) from pgq.tick") > 50));
    drop(client);
    cluster.stop(Stop::Fast);
    let log = cluster.log();
    // Where it was when the server ended is not counted.
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("pgq worker  ") || line.contains("pgq worker postgres"))
        .filter(|line| !line.contains("CONTEXT:") && !line.contains("STATEMENT:"))
        .collect();
    assert_eq!(lines.len(), 2, "started and ended, no more:\n{}", lines.join("\n"));
}
