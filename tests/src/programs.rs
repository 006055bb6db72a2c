//! What the client's tests share: queues with known content on either server, and the programs
//! under test.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use crate::tree::work_dir;
use crate::{Cluster, Scratch, Tree, scratch_database_on};
use pgq_client::{Connector, NewEvent, Producer};
use postgres::Client;

/// A database with PgQ in it, on the given server.
pub fn database_on(tree: Tree) -> Scratch {
    let scratch = scratch_database_on(tree);
    scratch.connect().batch_execute("create extension pgq").unwrap();
    scratch
}

/// Connection string of a scratch database.
pub fn dsn(scratch: &Scratch) -> String {
    scratch.cluster().conninfo(scratch.name())
}

/// Connector to a scratch database.
pub fn connector(scratch: &Scratch) -> Connector {
    Connector::new(&dsn(scratch)).unwrap()
}

/// Create a queue that ticks whenever the ticker is called, with a consumer on it.
pub fn create_queue(client: &mut Client, queue: &str, consumer: &str) {
    client.query_one("select pgq.create_queue($1)", &[&queue]).unwrap();
    tick_always(client);
    client.query_one("select pgq.register_consumer($1, $2)", &[&queue, &consumer]).unwrap();
}

/// Make every call of the ticker a tick, for queues that exist now.
pub fn tick_always(client: &mut Client) {
    client
        .batch_execute(
            "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
        )
        .unwrap();
}

/// Insert events of type `n` with payloads `from..to`, and tick.
pub fn insert_and_tick(client: &mut Client, queue: &str, from: u32, to: u32) {
    let events: Vec<_> = (from..to).map(|n| NewEvent::new("n", n.to_string())).collect();
    Producer::new(queue).insert_events(client, &events).unwrap();
    tick(client, queue);
}

/// Tick one queue.
pub fn tick(client: &mut Client, queue: &str) {
    client.query_one("select pgq.ticker($1)", &[&queue]).unwrap();
}

/// First column of the first row, as text.
pub fn value(client: &mut Client, sql: &str) -> String {
    let rows = client.simple_query(sql).unwrap();
    rows.iter()
        .find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .unwrap_or_default()
}

/// A database with pgq_ext, and PgQ where events go to queues.
pub fn target(sql: &str) -> (Scratch, Client) {
    let scratch = scratch_database_on(Tree::Ours);
    let mut client = scratch.connect();
    client.batch_execute("create extension pgq; create extension pgq_ext cascade").unwrap();
    client.batch_execute(sql).unwrap();
    (scratch, client)
}

/// The directory of programs that `cargo build -p pgq_client --bins --examples` made.
pub fn programs() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let programs = target.join("debug");
    assert!(programs.join("pgq").exists(), "no {}/pgq: run `make test`", programs.display());
    programs
}

/// The `pgq` command, without anything of the environment that could lead it elsewhere.
pub fn pgq(arguments: &[&str]) -> Command {
    let mut command = Command::new(programs().join("pgq"));
    for variable in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent").args(arguments).stdin(Stdio::null());
    command
}

/// Run `pgq` against a scratch database.
pub fn run(scratch: &Scratch, arguments: &[&str]) -> Output {
    pgq(arguments).env("PGQ_DSN", dsn(scratch)).output().unwrap()
}

/// Run it and expect success; its standard output.
pub fn succeed(scratch: &Scratch, arguments: &[&str]) -> String {
    let output = run(scratch, arguments);
    assert!(
        output.status.success(),
        "pgq {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What it said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Connection string of a database of a cluster over TCP.
pub fn tcp_dsn(cluster: &Cluster, database: &str) -> String {
    format!("host=127.0.0.1 port={} dbname={database} user=postgres", cluster.port())
}

/// Where `tests/env/programs.sh` has unpacked pgbouncer and python-pgq.
pub fn programs_of_others() -> PathBuf {
    let work = std::env::var_os("PGQ_WORK").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let programs = work.join("programs");
    assert!(programs.join(".complete").exists(), "no {}: run `make test`", programs.display());
    programs
}

/// A program of the virtual environment that `tests/env/python.sh` makes.
pub fn python_program(name: &str) -> PathBuf {
    let python = work_dir().join("python");
    assert!(python.join(".complete").exists(), "no {}: run `make test`", python.display());
    python.join("bin").join(name)
}
