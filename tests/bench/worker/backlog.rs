//! What piled up while the worker was away, and events that failed.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::{number, server, worker};

const EVENTS: i64 = 1_000_000;

/// Ticks for a million events of as many transactions.
pub(crate) fn run() {
    let (_cluster, mut client) = server();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c'); select pgq.stop_worker(); set synchronous_commit = off")
        .unwrap();
    client
        .batch_execute(&format!(
            "do $$ begin for n in 1 .. {EVENTS} loop perform pgq.insert_event('q', 'bench', 'some data'); commit; end loop; end $$"
        ))
        .unwrap();
    client.batch_execute("checkpoint").unwrap();
    client.batch_execute("select pgq.start_worker()").unwrap();
    worker(&mut client);
    let start = Instant::now();
    while number(&mut client, "select max(tick_event_seq) from pgq.tick") < EVENTS {
        thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed().as_secs_f64();
    let ticks = number(&mut client, "select count(*) from pgq.tick");
    let (mut seen, mut largest) = (0, 0);
    let reading = Instant::now();
    while seen < EVENTS {
        let batch = next(&mut client);
        let count =
            number(&mut client, &format!("select count(*) from pgq.get_batch_events({batch})"));
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        seen += count;
        largest = largest.max(count);
    }
    println!(
        "Backlog of {EVENTS} one-event transactions: ticked in {took:.2} s, {ticks} ticks, largest batch {largest} of at most 10000, read in {:.1} s\n",
        reading.elapsed().as_secs_f64()
    );
}

/// A thousand events that are due for another delivery.
pub(crate) fn run_retry() {
    let (_cluster, mut client) = server();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    client
        .batch_execute(
            "select pgq.insert_event('q', 'bench', 'some data') from generate_series(1, 1000)",
        )
        .unwrap();
    let mut batch = next(&mut client);
    while number(&mut client, &format!("select count(*) from pgq.get_batch_events({batch})")) == 0 {
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        batch = next(&mut client);
    }
    client.execute("select pgq.batch_retry($1, 0)", &[&batch]).unwrap();
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    let start = Instant::now();
    let mut seen = 0;
    while seen < 1000 {
        let batch = next(&mut client);
        seen += number(&mut client, &format!("select count(*) from pgq.get_batch_events({batch})"));
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    }
    println!(
        "1000 failed events that are due: back at the consumer after {:.2} s\n",
        start.elapsed().as_secs_f64()
    );
}

fn next(client: &mut Client) -> i64 {
    let row = client.query_one("call pgq.wait_batch('q', 'c', '1 min')", &[]).unwrap();
    row.get::<_, Option<i64>>(0).expect("a batch within a minute")
}
