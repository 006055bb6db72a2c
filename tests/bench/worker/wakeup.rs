//! What waking the worker costs the producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::{cpu, number, server, worker};

const ROUNDS: usize = 9;
const EVENTS: i32 = 4000;

/// CPU of a producer's backend, one event a transaction: with a worker and a waiting consumer, and with the worker stopped.
pub(crate) fn run() {
    let (cluster, mut client) = server();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c'); set synchronous_commit = off")
        .unwrap();
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
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    let insert = client.prepare("select pgq.insert_event('q', 'bench', 'some data')").unwrap();
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let mut costs = [0.0; 2];
        for turn in 0..2 {
            // Who goes first changes every round.
            let running = (turn + round) % 2 == 0;
            if running {
                client.batch_execute("select pgq.start_worker()").unwrap();
                worker(&mut client);
            } else {
                client.batch_execute("select pgq.stop_worker()").unwrap();
                let stopped = "select count(*) from pgq.worker_status() where state = 'stopped'";
                while number(&mut client, stopped) == 0 {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            let before = cpu(pid);
            for _ in 0..EVENTS {
                client.query_one(&insert, &[]).unwrap();
            }
            costs[usize::from(running)] = (cpu(pid) - before) / f64::from(EVENTS) / 1e3;
        }
        if round > 0 {
            without.push(costs[0]);
            with.push(costs[1]);
            ratios.push(costs[1] / costs[0]);
        }
    }
    stop.store(true, Ordering::SeqCst);
    consumer.join().unwrap();
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("Producer's CPU per event, one a transaction, median of {ROUNDS} rounds");
    println!(
        "  worker and waiting consumer {:.2} us, worker stopped {:.2} us: ratio {:.3}\n",
        median(&mut with),
        median(&mut without),
        median(&mut ratios)
    );
}
