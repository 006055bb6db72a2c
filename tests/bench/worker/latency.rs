//! From before the INSERT to the event in the hands of a consumer that sits in `wait_batch`.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::server;

/// Events per second, seconds, producers.
const LOADS: [(u32, u32, u32); 3] = [(20, 15, 1), (800, 10, 2), (5000, 8, 4)];

pub(crate) fn run() {
    println!(
        "Latency, milliseconds, INSERT sent to event received; one event a transaction, synchronous_commit on"
    );
    let (cluster, mut client) = server();
    let epoch = Instant::now();
    for (rate, seconds, producers) in LOADS {
        let queue = format!("rate_{rate}");
        client.execute("select pgq.create_queue($1)", &[&queue]).unwrap();
        client.execute("select pgq.register_consumer($1, 'c')", &[&queue]).unwrap();
        let total = (rate * seconds) as usize;
        let consumer = {
            let (queue, mut client) = (queue.clone(), cluster.connect("postgres"));
            thread::spawn(move || consume(&mut client, &queue, total, epoch))
        };
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        let threads: Vec<_> = (0..producers)
            .map(|n| {
                let (queue, mut client) = (queue.clone(), cluster.connect("postgres"));
                let gap = Duration::from_secs(1) / rate;
                thread::spawn(move || {
                    let insert =
                        client.prepare("select pgq.insert_event($1, 'bench', $2)").unwrap();
                    for event in (n..rate * seconds).step_by(producers as usize) {
                        // Open loop: a late producer does not wait, and its lateness is not hidden.
                        let due = start + gap * event;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        let stamp = epoch.elapsed().as_nanos().to_string();
                        client.execute(&insert, &[&queue, &stamp]).unwrap();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let took = start.elapsed().as_secs_f64();
        let (mut latencies, batches) = consumer.join().unwrap();
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        println!(
            "  {rate:>5}/s: p50 {:.2}, p90 {:.2}, p99 {:.2}, max {:.2} ({} events at {:.0}/s in {batches} batches)",
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
            latencies.len(),
            total as f64 / took
        );
    }
    println!();
}

fn consume(client: &mut Client, queue: &str, total: usize, epoch: Instant) -> (Vec<f64>, usize) {
    let wait = client.prepare(&format!("call pgq.wait_batch('{queue}', 'c', '5 s')")).unwrap();
    let read = client.prepare("select ev_data from pgq.get_batch_events($1)").unwrap();
    let finish = client.prepare("select pgq.finish_batch($1)").unwrap();
    let (mut latencies, mut batches) = (Vec::with_capacity(total), 0);
    while latencies.len() < total {
        let Some(batch) = client.query_one(&wait, &[]).unwrap().get::<_, Option<i64>>(0) else {
            panic!("nothing came for five seconds");
        };
        let rows = client.query(&read, &[&batch]).unwrap();
        let now = epoch.elapsed().as_nanos();
        latencies.extend(rows.iter().map(|row| {
            let stamp: u128 = row.get::<_, String>(0).parse().unwrap();
            now.saturating_sub(stamp) as f64 / 1e6
        }));
        batches += usize::from(!rows.is_empty());
        client.execute(&finish, &[&batch]).unwrap();
    }
    (latencies, batches)
}
