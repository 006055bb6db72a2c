//! Where the time goes between a producer and a consumer that waits, and the least that it could
//! be on this server: the *floor*.
//!
//! The server keeps the times of commits, and every transaction of the path leaves a row that tells
//! when it began: the event, the tick, the subscription. All clocks are one machine's. The floor is
//! an insertion whose commit wakes another backend, which commits, too, and answers its client.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use postgres::Client;

use crate::floor::{floor, middle, now};
use crate::{cpu, number, server_with, worker};

const EVENTS: usize = 400;
/// Between two events everything comes to rest.
const GAP: Duration = Duration::from_millis(15);

/// Microseconds since 1970 at each step of one event.
struct Stamps {
    sent: i64,
    inserted: i64,
    tick_begun: i64,
    ticked: i64,
    opening_begun: i64,
    opened: i64,
    has_batch: i64,
    has_events: i64,
    /// The consumer laid the tick itself, in the transaction that opens the batch.
    is_one: bool,
}

pub(crate) fn run() {
    println!("Path of an event on a quiet server, medians of {EVENTS}, microseconds");
    let (cluster, mut client) = server_with(&[("track_commit_timestamp", "on")]);
    let floor = floor(&cluster, &mut client, EVENTS);
    let syncs = "sum(wal_sync) from pg_stat_wal";
    let answer = answer(&mut client);
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    let (tell, told) = mpsc::channel();
    let (report, reported) = mpsc::channel();
    let consumer = {
        let client = cluster.connect("postgres");
        thread::spawn(move || consume(client, &report, &told))
    };
    let consumer_pid: i32 = reported.recv().unwrap().0.try_into().unwrap();
    let mut producer = cluster.connect("postgres");
    let insert = producer.prepare("select pgq.insert_event('q', 'bench', 'some data')").unwrap();
    let producer_pid = number(&mut producer, "pg_backend_pid()") as i32;
    let pids = [producer_pid, worker(&mut client), consumer_pid];
    let mut paths = Vec::with_capacity(EVENTS);
    thread::sleep(Duration::from_secs(1));
    let syncs_before = number(&mut client, &format!("select {syncs}"));
    let mut used = [0.0; 3];
    for _ in 0..EVENTS {
        thread::sleep(GAP);
        let before = pids.map(cpu);
        let sent = now();
        producer.execute(&insert, &[]).unwrap();
        let (has_batch, has_events) = reported.recv().unwrap();
        for (used, (pid, before)) in used.iter_mut().zip(pids.into_iter().zip(before)) {
            *used += cpu(pid) - before;
        }
        paths.push(stamps(&mut client, sent, has_batch, has_events));
        tell.send(true).unwrap();
    }
    drop(tell);
    consumer.join().unwrap();
    // Each session tells of its syncs at most once a second.
    thread::sleep(Duration::from_millis(1500));
    producer.batch_execute("select 1").unwrap();
    thread::sleep(Duration::from_secs(1));
    let synced = (number(&mut client, &format!("select {syncs}")) - syncs_before) as f64;
    print(&paths);
    let total = median(&paths, |path| path.has_events - path.sent);
    println!(
        "  {:<46} {total:>6}\n  {:<46} {floor:>6}\n  {:<46} {:>6.2}\n  {:<46} {answer:>6}",
        "sent to events in the client",
        "floor: two commits, one wake-up, one answer",
        "times the floor",
        total as f64 / floor as f64,
        "a statement that does nothing",
    );
    let [producer, worker, consumer] = used.map(|used| used / EVENTS as f64 / 1e3);
    println!(
        "  CPU an event: producer {producer:.0}, worker {worker:.0}, consumer's backend {consumer:.0}; syncs an event, with that of its end: {:.2}\n",
        synced / EVENTS as f64
    );
}

/// Wait for batches and read them; tell of the times, and finish when told.
fn consume(mut client: Client, report: &Sender<(i64, i64)>, told: &Receiver<bool>) {
    let pid = number(&mut client, "pg_backend_pid()");
    report.send((pid, 0)).unwrap();
    let wait = client.prepare("call pgq.wait_batch('q', 'c', '10 s')").unwrap();
    let read = client.prepare("select ev_data from pgq.get_batch_events($1)").unwrap();
    let finish = client.prepare("select pgq.finish_batch($1)").unwrap();
    for _ in 0..EVENTS {
        let batch: i64 = client.query_one(&wait, &[]).unwrap().get(0);
        let has_batch = now();
        let rows = client.query(&read, &[&batch]).unwrap();
        report.send((has_batch, now())).unwrap();
        assert_eq!(rows.len(), 1, "one event is on its way at a time");
        told.recv().unwrap();
        client.execute(&finish, &[&batch]).unwrap();
    }
}

fn stamps(client: &mut Client, sent: i64, has_batch: i64, has_events: i64) -> Stamps {
    let micros = |what: &str| format!("(extract(epoch from {what}) * 1000000)::bigint");
    let row = client
        .query_one(
            &format!(
                "select {}, {}, {}, {}, {}, s.xmin = t.xmin
                   from pgq.subscription s
                   join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_next_tick
                   join lateral (select e.xmin from pgq.event_1 e order by e.ev_id desc limit 1) e
                     on true",
                micros("pg_xact_commit_timestamp(e.xmin)"),
                micros("t.tick_time"),
                micros("pg_xact_commit_timestamp(t.xmin)"),
                micros("s.sub_active"),
                micros("pg_xact_commit_timestamp(s.xmin)"),
            ),
            &[],
        )
        .unwrap();
    Stamps {
        sent,
        inserted: row.get(0),
        tick_begun: row.get(1),
        ticked: row.get(2),
        opening_begun: row.get(3),
        opened: row.get(4),
        has_batch,
        has_events,
        is_one: row.get(5),
    }
}

fn print(paths: &[Stamps]) {
    let is_one = |one: bool| paths.iter().filter(|path| path.is_one == one).count();
    let line = |name: &str, step: &dyn Fn(&Stamps) -> i64| {
        println!("  {name:<46} {:>6}", median(paths, step));
    };
    line("sent to commit of the event", &|path| path.inserted - path.sent);
    line("its sync; wake-up of who lays the tick", &|path| path.tick_begun - path.inserted);
    if is_one(true) > is_one(false) {
        println!("  (the consumer lays the tick: {} of {})", is_one(true), paths.len());
        line("decision, tick, next batch, commit", &|path| path.opened - path.tick_begun);
    } else {
        line("decision, tick, commit", &|path| path.ticked - path.tick_begun);
        line("its sync; wake-up of the consumer's backend", &|path| {
            path.opening_begun - path.ticked
        });
        line("next batch, commit", &|path| path.opened - path.opening_begun);
    }
    line("its sync; answer", &|path| path.has_batch - path.opened);
    line("events in the client", &|path| path.has_events - path.has_batch);
}

/// Median time of a statement that does nothing.
fn answer(client: &mut Client) -> i64 {
    let nothing = client.prepare("select 1").unwrap();
    let round = |client: &mut Client| {
        thread::sleep(Duration::from_millis(2));
        let sent = now();
        client.query(&nothing, &[]).unwrap();
        now() - sent
    };
    middle((0..EVENTS).map(|_| round(client)).collect())
}

fn median(paths: &[Stamps], step: impl Fn(&Stamps) -> i64) -> i64 {
    middle(paths.iter().map(step).collect())
}
