//! `pgq_node`, one call at a time, in one database.

mod calls;
mod health;
mod races;
mod root_change;
pub(crate) mod scenario;

use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

use pgq_tests::query::{row, rows, run};

/// A database with pgq and pgq_node.
pub(super) fn node() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "create extension pgq_node");
    (database, client)
}

/// Register locations `node1`… of a queue.
pub(super) fn locations(client: &mut Client, queue: &str, names: &[&str]) {
    for name in names {
        let call = format!(
            "select ret_code from pgq_node.register_location('{queue}', '{name}', 'dbname={name}', false)"
        );
        assert_eq!(row(client, &call), "200");
    }
}

/// A root `node1` with queue `q` that ticks whenever the ticker is called, and subscriber `node2`.
pub(super) fn root() -> (Scratch, Client) {
    let (database, mut client) = node();
    locations(&mut client, "q", &["node1", "node2"]);
    run(
        &mut client,
        "select pgq_node.create_node('q', 'root', 'node1', 'node1_worker', null, null, null);
         select pgq_node.register_subscriber('q', 'node2', 'node2_worker', null);
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    (database, client)
}

/// A branch `node2` of queue `q` that reads from `node1`.
pub(super) fn branch() -> (Scratch, Client) {
    let (database, mut client) = node();
    locations(&mut client, "q", &["node1", "node2", "node3"]);
    run(
        &mut client,
        "select pgq_node.create_node('q', 'branch', 'node2', 'node2_worker', 'node1', 1, null)",
    );
    (database, client)
}

/// Problems that `node_health()` sees, in its order.
pub(super) fn problems(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select queue_name || ': ' || coalesce(problem, severity) from pgq_node.node_health()",
    )
}
