//! Upstream's daemon pgqd 3.5, unchanged, on our extension.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};
use postgres::Client;

/// A running pgqd; it ends with the value.
pub(crate) struct Pgqd(Child);

impl Drop for Pgqd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The daemon as Debian packages it.
fn pgqd() -> Command {
    // bin is usr/lib/postgresql/VERSION/bin of the tree, the daemon in usr/bin.
    let bin = Tree::Peer.bin();
    Command::new(bin.ancestors().nth(4).map(|usr| usr.join("bin/pgqd")).unwrap())
}

/// Run it for database `events`.
pub(crate) fn start(cluster: &Cluster, config: &Path) -> Pgqd {
    start_for(cluster, config, "events")
}

/// Run it for a database.
pub(crate) fn start_for(cluster: &Cluster, config: &Path, database: &str) -> Pgqd {
    let text = format!(
        "[pgqd]\nbase_connstr = host={} port={} user=postgres\ndatabase_list = {database}\nsyslog = 0\n\
         ticker_period = 0.1\nmaint_period = 1\nretry_period = 1\ncheck_period = 1\n",
        cluster.dir().display(),
        cluster.port()
    );
    std::fs::write(config, text).unwrap();
    let child = pgqd().arg("-q").arg(config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Pgqd(child.unwrap())
}

/// A server with database `events`, and in it a queue that ticks and rotates as fast as it is asked
/// to.
fn prepare(cluster: &Cluster) -> Client {
    cluster.connect("postgres").batch_execute("create database events").unwrap();
    let mut client = cluster.connect("events");
    client
        .batch_execute(
            "create extension pgq;
             select pgq.create_queue('q');
             update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0',
                    queue_rotation_period = '10 ms';
             select pgq.register_consumer('q', 'c')",
        )
        .unwrap();
    client
}

/// The next batch's id, once a tick has made it.
fn next_batch(client: &mut Client) -> i64 {
    let mut batch = None;
    let came = wait_until(PATIENCE, || {
        batch = client.query_one("select pgq.next_batch('q', 'c')", &[]).unwrap().get(0);
        batch.is_some()
    });
    assert!(came, "nobody ticks");
    batch.unwrap()
}

/// Consume until an event with this number of deliveries behind it comes; it is left in its open
/// batch.
fn wait_for_event(client: &mut Client, retried: Option<i32>) -> (i64, i64) {
    let mut found = None;
    let came = wait_until(PATIENCE, || {
        let batch = next_batch(client);
        let events = client
            .query("select ev_id, ev_retry from pgq.get_batch_events($1)", &[&batch])
            .unwrap();
        match events.iter().find(|row| row.get::<_, Option<i32>>(1) == retried) {
            Some(row) => found = Some((batch, row.get(0))),
            None => client.batch_execute(&format!("select pgq.finish_batch({batch})")).unwrap(),
        }
        found.is_some()
    });
    assert!(came, "the event did not come");
    found.unwrap()
}

/// Ticks, the retry queue and rotation, all by the daemon.
fn drive(cluster: &Cluster) {
    let mut client = prepare(cluster);
    let dir = tempfile::tempdir().unwrap();
    let _daemon = start(cluster, &dir.path().join("pgqd.ini"));
    client.batch_execute("select pgq.insert_event('q', 't', 'd')").unwrap();
    let (batch, event) = wait_for_event(&mut client, None);
    client.batch_execute(&format!("select pgq.event_retry({batch}, {event}, 0)")).unwrap();
    client.batch_execute(&format!("select pgq.finish_batch({batch})")).unwrap();
    let (batch, again) = wait_for_event(&mut client, Some(1));
    assert_eq!(again, event);
    client.batch_execute(&format!("select pgq.finish_batch({batch})")).unwrap();

    let rotated = |client: &mut Client, from: i32| {
        wait_until(PATIENCE, || {
            let batch = next_batch(client);
            client.batch_execute(&format!("select pgq.finish_batch({batch})")).unwrap();
            let now: i32 =
                client.query_one("select queue_cur_table from pgq.queue", &[]).unwrap().get(0);
            now != from
        })
    };
    let from: i32 = client.query_one("select queue_cur_table from pgq.queue", &[]).unwrap().get(0);
    assert!(rotated(&mut client, from), "the queue is not rotated");
}

#[test]
fn pgqd_ticks_retries_and_rotates_our_queues() {
    drive(&Cluster::builder().set("fsync", "off").start());
}

#[test]
fn pgqd_beside_our_worker_does_no_harm() {
    let cluster =
        Cluster::builder().set("shared_preload_libraries", "pgq").set("fsync", "off").start();
    drive(&cluster);
    assert!(!cluster.log().contains("PANIC"), "{}", cluster.log());
    let mut client = cluster.connect("events");
    // Two tickers in one database: ticks are still in order of time and of events.
    let disorder: i64 = client
        .query_one(
            "select count(*) from (select tick_event_seq < lag(tick_event_seq) over w
                or tick_time < lag(tick_time) over w as bad from pgq.tick window w as (order by \
                tick_id)) as t
             where bad",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(disorder, 0);
}
