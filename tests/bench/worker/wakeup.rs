//! What waking the worker costs the producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use postgres::Client;

use crate::{cpu, server, switch};

const ROUNDS: usize = 15;
const EVENTS: usize = 20_000;

/// CPU of a producer's backend, one event a transaction: with the worker, and with the worker
/// stopped, in turns; without and with a consumer that waits for each event. The transactions are
/// made inside the server: what it costs to send statements back and forth hangs on how deep the
/// machine sleeps in between, and so on what else runs.
pub(crate) fn run() {
    println!(
        "Producer's CPU per event, one a transaction, worker against no worker, median of {ROUNDS} rounds"
    );
    let (cluster, mut client) = server();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c'); set synchronous_commit = off")
        .unwrap();
    compare(&mut client, "nobody waits");
    let stop = Arc::new(AtomicBool::new(false));
    let consumer = {
        let (mut client, stop) = (cluster.connect("postgres"), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let row = client.query_one("call pgq.wait_batch('q', 'c', '100 ms')", &[]).unwrap();
                if let Some(batch) = row.get::<_, Option<i64>>(0) {
                    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
                }
            }
        })
    };
    compare(&mut client, "a consumer waits");
    stop.store(true, Ordering::SeqCst);
    consumer.join().unwrap();
    println!();
}

fn compare(client: &mut Client, name: &str) {
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let insert = format!(
        "do $$ begin for n in 1 .. {EVENTS} loop perform pgq.insert_event('q', 'bench', 'some data'); commit; end loop; end $$"
    );
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut costs = [0.0; 2];
        for turn in 0..2 {
            // Who goes first changes every round.
            let running = (turn + round) % 2 == 0;
            switch(client, running);
            let before = cpu(pid);
            client.batch_execute(&insert).unwrap();
            costs[usize::from(running)] = (cpu(pid) - before) / EVENTS as f64 / 1e3;
        }
        if round > 0 {
            without.push(costs[0]);
            with.push(costs[1]);
            ratios.push(costs[1] / costs[0]);
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "  {name:<16}: {:.2} us, stopped {:.2} us: ratio {:.3}",
        median(&mut with),
        median(&mut without),
        median(&mut ratios)
    );
}
