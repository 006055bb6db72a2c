//! A thousand queues in which nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use crate::{cpu, number, server, worker};

const QUEUES: i32 = 1000;
const SECONDS: u64 = 30;

/// CPU share of the worker, WAL, and the price of a look at the metrics.
pub(crate) fn run() {
    let (_cluster, mut client) = server();
    client
        .batch_execute(&format!(
            "do $$ begin for n in 1 .. {QUEUES} loop
                 perform pgq.create_queue('idle_' || n); perform pgq.register_consumer('idle_' || \
                 n, 'c'); commit;
             end loop; end $$"
        ))
        .unwrap();
    // The first ticks of all queues, and the doubling of their idle intervals, are not what is
    // measured.
    client
        .batch_execute(
            "update pgq.queue set queue_ticker_max_lag = '1 hour', \
        queue_ticker_idle_period = '1 hour'",
        )
        .unwrap();
    client.batch_execute("vacuum analyze").unwrap();
    let pid = worker(&mut client);
    thread::sleep(Duration::from_secs(3));
    let wal = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')";
    let (wal_before, cpu_before, start) = (number(&mut client, wal), cpu(pid), Instant::now());
    thread::sleep(Duration::from_secs(SECONDS));
    let share = (cpu(pid) - cpu_before) / start.elapsed().as_nanos() as f64 * 100.0;
    let written = number(&mut client, wal) - wal_before;
    println!(
        "Idle, {QUEUES} queues, {SECONDS} s: worker {share:.2} % of a core, {written} bytes of WAL"
    );

    let own: i32 = client.query_one("select pg_backend_pid()", &[]).unwrap().get(0);
    for call in ["pgq.metrics()", "pgq.queue_health()"] {
        let sql = format!("select count(*) from {call}");
        number(&mut client, &sql);
        let before = cpu(own);
        for _ in 0..5 {
            number(&mut client, &sql);
        }
        println!("  {call}: {:.1} ms of CPU", (cpu(own) - before) / 5e6);
    }
    println!();
}
