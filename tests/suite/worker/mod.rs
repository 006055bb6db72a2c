//! The worker inside the server, and consumers that wait for it.

mod clock;
mod control;
mod databases;
mod health;
mod health_quiet;
mod lead;
mod life;
mod releases;
mod soak;
mod standby;
mod wait;

use pgq_tests::{Cluster, ClusterBuilder, PATIENCE, wait_until};
use postgres::Client;

/// A server with the library preloaded and periods that suit a test of its own.
fn preloaded() -> ClusterBuilder {
    Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.discovery_period", "200ms")
        .set("max_prepared_transactions", 10)
        .set("fsync", "off")
}

/// Wait until a worker runs in the client's database; its process id.
fn worker_pid(client: &mut Client) -> i32 {
    let mut pid = None;
    let found = wait_until(PATIENCE, || {
        pid = client
            .query(
                "select pid from pg_stat_activity where backend_type = 'pgq worker' and datname = current_database()
                 and application_name <> ''",
                &[],
            )
            .unwrap()
            .first()
            .map(|row| row.get(0));
        pid.is_some()
    });
    assert!(found, "no worker came");
    pid.unwrap()
}

/// `pgq.wait_batch`, with the time as SQL text.
fn wait_batch(client: &mut Client, consumer: &str, timeout: &str) -> Option<i64> {
    client
        .query_one(&format!("call pgq.wait_batch('q', '{consumer}', '{timeout}')"), &[])
        .unwrap()
        .get(0)
}

/// Data of the batch's events.
fn events(client: &mut Client, batch: i64) -> Vec<String> {
    client
        .query("select ev_data from pgq.get_batch_events($1)", &[&batch])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// Consume until `count` events have been seen; all that were.
fn consume(client: &mut Client, consumer: &str, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let done = wait_until(PATIENCE, || {
        if let Some(batch) = wait_batch(client, consumer, "1 s") {
            seen.extend(events(client, batch));
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
        seen.len() >= count
    });
    assert!(done, "only {} of {count} events came: {seen:?}", seen.len());
    seen
}

/// A number from SQL.
fn number(client: &mut Client, sql: &str) -> i64 {
    client.query_one(&format!("select ({sql})::bigint"), &[]).unwrap().get(0)
}

/// A queue `q`, which by its rules is never ticked, with these consumers.
fn quiet_queue(client: &mut Client, consumers: &[&str]) {
    client
        .batch_execute(
            "select pgq.create_queue('q');
             select pgq.set_queue_config('q', 'ticker_max_lag', '1 hour');
             select pgq.set_queue_config('q', 'ticker_max_count', '1000000');
             select pgq.set_queue_config('q', 'ticker_idle_period', '1 hour');",
        )
        .unwrap();
    for consumer in consumers {
        client.execute("select pgq.register_consumer('q', $1)", &[consumer]).unwrap();
    }
}
