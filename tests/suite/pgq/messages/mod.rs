//! The queue API for applications: send, receive, acknowledge, dead letters.

mod aside;
mod dead;
mod delayed;
mod empty;
mod exactly_once;
mod hostile;
mod keep;
mod kept;
mod leaving;
mod nack;
mod receive;
mod rights;
mod schedules;
mod seek;
mod send;
mod slots;
mod slots_load;
mod unique;
mod wait;

use pgq_tests::query::{row, rows, run};
use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

/// A database with queue `q` and its consumer `c`.
fn queue() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q'), pgq.subscribe('q', 'c')");
    (database, client)
}

fn tick(client: &mut Client) {
    run(client, "select pgq.force_tick('q')");
    run(client, "select pgq.ticker('q')");
}

/// Send messages with these payloads.
fn send(client: &mut Client, payloads: impl IntoIterator<Item = impl ToString>) {
    let payloads: Vec<_> = payloads.into_iter().map(|payload| payload.to_string()).collect();
    client.execute("select pgq.send_batch('q', 't', $1::text[])", &[&payloads]).unwrap();
}

/// Batch and payloads of what `receive` gives; batch 0 and nothing when there is nothing.
fn receive(client: &mut Client, consumer: &str, most: i32) -> (i64, Vec<String>) {
    let found = client
        .query("select batch_id, payload from pgq.receive('q', $1, $2)", &[&consumer, &most])
        .unwrap();
    let batch = found.first().map_or(0, |row| row.get(0));
    assert!(found.iter().all(|row| row.get::<_, i64>(0) == batch));
    (batch, found.iter().map(|row| row.get(1)).collect())
}

fn ack(client: &mut Client, batch: i64) {
    assert_eq!(row(client, &format!("select pgq.ack({batch})")), "1");
}

/// Receive and acknowledge everything; the sizes of the pages, and the payloads.
fn drain(client: &mut Client, consumer: &str, most: i32) -> (Vec<usize>, Vec<String>) {
    let (mut sizes, mut payloads) = (Vec::new(), Vec::new());
    loop {
        let (batch, page) = receive(client, consumer, most);
        if page.is_empty() {
            return (sizes, payloads);
        }
        sizes.push(page.len());
        payloads.extend(page);
        ack(client, batch);
    }
}

/// Have what waits to be retried come now, in a batch of its own.
fn retry_now(client: &mut Client) {
    run(client, "update pgq.retry_queue set ev_retry_after = now()");
    run(client, "select pgq.maint_retry_events()");
    tick(client);
}

/// Open batches of all consumers.
fn open_batches(client: &mut Client) -> Vec<String> {
    rows(client, "select sub_batch from pgq.subscription where sub_batch is not null")
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
