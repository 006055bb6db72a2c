//! Load with tiny rotation periods, long transactions that come and go, and a backlog: everything
//! is delivered once, the disk stays flat, batches stay small.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use pgq_tests::{Cluster, PATIENCE, Random, wait_until};
use postgres::Client;

use super::{events, number, preloaded, wait_batch, worker_pid};

const ROTATIONS: i64 = 20;

/// Run `step` with a session of its own until told to stop.
fn repeat(
    cluster: &Cluster,
    stop: &Arc<AtomicBool>,
    mut step: impl FnMut(&mut Client) + Send + 'static,
) -> JoinHandle<()> {
    let mut client = cluster.connect("postgres");
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        while !stop.load(Ordering::SeqCst) {
            step(&mut client);
        }
    })
}

/// A transaction of one to three events, at a random isolation level, now and then rolled back or
/// partly so.
fn produce(client: &mut Client, random: &mut Random, name: &str, serial: &mut u32) {
    let level = if random.one_in(3) { "repeatable read" } else { "read committed" };
    client
        .batch_execute(&format!("begin isolation level {level}; select 1 from pgq.queue"))
        .unwrap();
    let insert = "insert into sent (data) select v from (select $1::text as v) d where pgq.insert_event('q', 'type', v, repeat('x', 1500), null, null, null) > 0";
    for _ in 0..=random.below(2) {
        *serial += 1;
        client.execute(insert, &[&format!("{name}-{serial}")]).unwrap();
    }
    if random.one_in(5) {
        client.batch_execute("savepoint s").unwrap();
        client.execute(insert, &[&format!("{name}-lost-{serial}")]).unwrap();
        client.batch_execute("rollback to s").unwrap();
    }
    client.batch_execute(if random.one_in(10) { "rollback" } else { "commit" }).unwrap();
}

/// Take what comes for a while; some events are asked for once more.
fn receive(
    client: &mut Client,
    consumer: &str,
    random: &mut Random,
    seen: &mut BTreeMap<String, i64>,
) -> bool {
    let Some(batch) = wait_batch(client, consumer, "200 ms") else { return false };
    let mut transaction = client.transaction().unwrap();
    let rows = transaction
        .query(
            "select ev_id, ev_data, coalesce(ev_retry, 0) from pgq.get_batch_events($1)",
            &[&batch],
        )
        .unwrap();
    for row in rows {
        let (id, data, retry): (i64, String, i32) = (row.get(0), row.get(1), row.get(2));
        if retry == 0 && random.one_in(50) {
            transaction.execute("select pgq.event_retry($1, $2, 0)", &[&batch, &id]).unwrap();
        } else {
            *seen.entry(data).or_insert(0) += 1;
        }
    }
    transaction.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    transaction.commit().unwrap();
    true
}

#[test]
fn twenty_rotations_under_load_deliver_everything_once() {
    let cluster = preloaded()
        .set("pgq.ticker_period", "20ms")
        .set("pgq.maint_period", "20ms")
        .set("pgq.retry_period", "50ms")
        .set("pgq.vacuum_threshold", 200)
        .set("autovacuum", "off")
        .start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    client
        .batch_execute(
            "create table sent (data text);
             select pgq.create_queue('q'); select pgq.register_consumer('q', 'a');
             select pgq.register_consumer('q', 'b');
             update pgq.queue set queue_rotation_period = '100 ms', queue_ticker_max_lag = '50 ms',
                 queue_ticker_idle_period = '200 ms'",
        )
        .unwrap();
    worker_pid(&mut client);
    let mut random = Random::for_test("twenty_rotations_under_load_deliver_everything_once");

    let producing = Arc::new(AtomicBool::new(false));
    let mut producers = Vec::new();
    for name in ["x", "y"] {
        let (mut random, mut serial) = (random.fork(), 0);
        producers.push(repeat(&cluster, &producing, move |client| {
            produce(client, &mut random, name, &mut serial);
        }));
    }
    // A writer that stays open across rotations, and a reader with an old snapshot.
    let mut serial = 0;
    producers.push(repeat(&cluster, &producing, move |client| {
        serial += 1;
        client
            .batch_execute(&format!(
                "begin; insert into sent values ('long-{serial}'); select pgq.insert_event('q', 'type', 'long-{serial}');
                 select pg_sleep(0.4); commit; select pg_sleep(0.1)"
            ))
            .unwrap();
    }));
    producers.push(repeat(&cluster, &producing, |client| {
        client
            .batch_execute(
                "begin isolation level repeatable read; select 1; select pg_sleep(0.7); commit",
            )
            .unwrap();
    }));
    // Somebody else's ticker beside the worker.
    producers.push(repeat(&cluster, &producing, |client| {
        client.batch_execute("select pgq.ticker()").unwrap();
        client.batch_execute("select pg_sleep(0.03)").unwrap();
    }));

    let consuming = Arc::new(AtomicBool::new(false));
    let consumers: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let (mut client, mut random, stop) =
                (cluster.connect("postgres"), random.fork(), Arc::clone(&consuming));
            thread::spawn(move || {
                let mut seen = BTreeMap::new();
                // Until told, and then until nothing comes any more.
                while receive(&mut client, name, &mut random, &mut seen)
                    || !stop.load(Ordering::SeqCst)
                {}
                seen
            })
        })
        .collect();

    let size = "select sum(pg_total_relation_size(format('pgq.event_1_%s', n)::regclass)) from generate_series(0, 2) n";
    let mut peak = 0;
    // As many rotations as asked for, and so many bytes that a peak which grew with them would
    // show.
    let rotated = wait_until(PATIENCE * 5, || {
        peak = peak.max(number(&mut client, size));
        number(&mut client, "select rotations from pgq.worker_status()") >= ROTATIONS
            && number(&mut client, "select count(*) * 1500 from sent") > 3 * peak
    });
    producing.store(true, Ordering::SeqCst);
    for producer in producers {
        producer.join().unwrap();
    }
    // Nothing waits for redelivery, and all that was put back has been ticked.
    assert!(
        wait_until(PATIENCE, || number(&mut client, "select count(*) from pgq.retry_queue") == 0)
    );
    consuming.store(true, Ordering::SeqCst);
    let seen: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
    assert!(
        rotated,
        "too few rotations, {}, or too much on disk, {peak} bytes",
        number(&mut client, "select rotations from pgq.worker_status()")
    );

    let sent: BTreeMap<String, i64> = client
        .query("select data, count(*) from sent group by data", &[])
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    for (consumer, seen) in ["a", "b"].iter().zip(&seen) {
        let lost: Vec<_> = sent.keys().filter(|data| !seen.contains_key(*data)).collect();
        let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(
            lost.is_empty() && twice.is_empty(),
            "{consumer} lost {lost:?}, got again {twice:?}"
        );
        assert_eq!(seen.len(), sent.len());
    }

    let bytes = i64::try_from(sent.len()).unwrap() * 1500;
    assert!(peak < bytes / 2, "{peak} bytes on disk at the most, of {bytes} that went through");
    let dead = "select sum(pg_stat_get_dead_tuples(c)) from unnest('{pgq.tick,pgq.subscription,pgq.queue,pgq.retry_queue}'::regclass[]) c";
    assert!(
        wait_until(PATIENCE, || number(&mut client, dead) < 1000),
        "{} dead rows in metadata",
        number(&mut client, dead)
    );
}

#[test]
fn a_backlog_is_laid_out_in_bounded_batches() {
    let cluster = preloaded().set("synchronous_commit", "off").start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq; select pgq.create_queue('q'); select pgq.register_consumer('q', 'c');
             select pgq.set_queue_config('q', 'batch_max_count', '500')",
        )
        .unwrap();
    worker_pid(&mut client);
    client.batch_execute("select pgq.stop_worker()").unwrap();
    let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
    assert!(wait_until(PATIENCE, || number(&mut client, stopped) == 1));
    client
        .batch_execute(
            "do $$ begin for n in 1 .. 10000 loop perform pgq.insert_event('q', 'type', n::text); commit; end loop; end $$",
        )
        .unwrap();
    client.batch_execute("select pgq.start_worker()").unwrap();
    let mut seen = 0;
    assert!(wait_until(PATIENCE, || {
        let Some(batch) = wait_batch(&mut client, "c", "1 s") else { return false };
        let count = events(&mut client, batch).len();
        assert!(count <= 500, "a batch of {count} events");
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        seen += count;
        seen == 10_000
    }));
}

#[test]
fn a_thousand_failed_events_come_again() {
    let cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client
        .batch_execute(
            "create extension pgq; select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')",
        )
        .unwrap();
    worker_pid(&mut client);
    client
        .batch_execute(
            "select pgq.insert_event('q', 'type', n::text) from generate_series(1, 1000) n",
        )
        .unwrap();
    let mut seen = 0;
    let mut failed = false;
    assert!(wait_until(PATIENCE, || {
        let Some(batch) = wait_batch(&mut client, "c", "1 s") else { return false };
        let count = events(&mut client, batch).len();
        if count > 0 && !failed {
            assert_eq!(number(&mut client, &format!("select pgq.batch_retry({batch}, 0)")), 1000);
            failed = true;
        } else {
            seen += count;
        }
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        seen == 1000
    }));
    // It counts once it has moved them.
    let moved = "select retries_moved from pgq.worker_status()";
    assert!(wait_until(PATIENCE, || number(&mut client, moved) == 1000));
}
