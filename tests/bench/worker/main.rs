//! `make bench`: what the worker does with time, and what it costs. Clocks on the wall here: run it
//! on a quiet machine.
//!
//! `cargo bench -p pgq_tests --bench worker -- latency idle` runs only what is named: path,
//! latency, wakeup, idle, backlog, retry, aside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a benchmark a failed step ends the run"
)]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "nanoseconds become figures to print"
)]

mod aside;
mod backlog;
mod floor;
mod idle;
mod latency;
mod path;
mod wakeup;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use pgq_tests::{Cluster, wait_until};
use postgres::Client;

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!(
        "load average at the start: {}",
        load.split(' ').take(2).collect::<Vec<_>>().join(" ")
    );
    let suites: [(&str, fn()); 7] = [
        ("path", path::run),
        ("latency", latency::run),
        ("wakeup", wakeup::run),
        ("idle", idle::run),
        ("backlog", backlog::run),
        ("retry", backlog::run_retry),
        ("aside", aside::run),
    ];
    for (name, run) in suites {
        if is_wanted(name) {
            let start = Instant::now();
            println!("[{name}]");
            run();
            println!("[{name}: {:.0} s]\n", start.elapsed().as_secs_f64());
        }
    }
}

/// A server with the library preloaded, the extension, and its worker running. Default settings,
/// but for memory and checkpoints, whose writing would be measured with what happens to run beside
/// it.
fn server() -> (Cluster, Client) {
    server_with(&[])
}

/// The same with more settings.
fn server_with(settings: &[(&str, &str)]) -> (Cluster, Client) {
    let mut builder = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("shared_buffers", "512MB")
        .set("max_wal_size", "8GB")
        .set("checkpoint_timeout", "30min")
        .set("max_prepared_transactions", 10);
    for (name, value) in settings {
        builder = builder.set(name, value);
    }
    let cluster = builder.start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").expect("create extension pgq");
    worker(&mut client);
    (cluster, client)
}

/// Process id of the worker, once it runs.
fn worker(client: &mut Client) -> i32 {
    let mut pid = None;
    let sql = "select pid from pgq.worker_status() where state = 'running'";
    let found = wait_until(Duration::from_secs(60), || {
        pid = client.query(sql, &[]).unwrap().first().and_then(|row| row.get(0));
        pid.is_some()
    });
    assert!(found, "no worker runs");
    pid.unwrap()
}

/// Start or stop the worker of the client's database, and wait until that is so.
fn switch(client: &mut Client, on: bool) {
    if on {
        client.batch_execute("select pgq.start_worker()").unwrap();
        worker(client);
    } else {
        client.batch_execute("select pgq.stop_worker()").unwrap();
        let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
        while number(client, stopped) == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// CPU nanoseconds a process has used so far.
fn cpu(pid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    stat.split_whitespace().next().unwrap().parse::<u64>().unwrap() as f64
}

fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(&format!("select ({sql})::bigint"), &[]).unwrap().get(0)
}
