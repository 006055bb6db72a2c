//! From before the INSERT to the event in the hands of a consumer that sits in `wait_batch`: on a
//! quiet server, and beside what other people do to one. Beside each row: how many times the floor
//! its median is, how many events a batch has, and the worker's CPU (milliseconds) for each tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pgq_tests::Cluster;
use postgres::Client;

use crate::floor::floor;
use crate::{cpu, number, server, worker};

/// Events per second, seconds, producers.
type Load = (u32, u32, u32);
const QUIET: [Load; 3] = [(20, 15, 1), (800, 10, 2), (5000, 8, 4)];
/// Of the cases with company.
const BESIDE: Load = (20, 15, 1);
/// Transactions a second in another database.
const BUSY: u32 = 200;
/// Consumers of another queue.
const WAITING: u32 = 50;
/// Other queues.
const QUEUES: u32 = 1000;

pub(crate) fn run() {
    println!(
        "Latency, milliseconds, INSERT sent to event received; one event a transaction, synchronous_commit on"
    );
    let (cluster, mut client) = server();
    let floor = floor(&cluster, &mut client, 200) as f64 / 1e3;
    println!("  floor (two commits, one wake-up, one answer): {floor:.2}");
    println!(
        "  events/s  company                            p50    p90    p99    max  floors  a batch  worker"
    );
    let measure = |client: &mut Client, company: &str, load: Load| {
        measure(&cluster, client, company, load, floor);
    };
    for load in QUIET {
        measure(&mut client, "none", load);
    }

    let mut open = cluster.connect("postgres");
    open.batch_execute("begin; select txid_current()").unwrap();
    measure(&mut client, "a transaction held open", BESIDE);
    open.batch_execute("prepare transaction 'forgotten'").unwrap();
    measure(&mut client, "a forgotten prepared transaction", BESIDE);
    open.batch_execute("rollback prepared 'forgotten'").unwrap();

    client.batch_execute("create database other").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let busy = be_busy(cluster.connect("other"), &stop);
    measure(&mut client, "another database busy", BESIDE);
    stop.store(true, Ordering::SeqCst);
    busy.join().unwrap();

    let others = wait_elsewhere(&cluster, &mut client);
    measure(&mut client, "50 consumers that wait elsewhere", BESIDE);
    for other in others {
        other.join().unwrap();
    }
    for n in 0..QUEUES {
        client.execute("select pgq.create_queue('other_' || $1::text)", &[&n.to_string()]).unwrap();
    }
    measure(&mut client, "1000 other queues", BESIDE);
    println!();
}

/// Consumers of another queue, until somebody ends their wait.
fn wait_elsewhere(cluster: &Cluster, client: &mut Client) -> Vec<JoinHandle<()>> {
    client.batch_execute("select pgq.create_queue('elsewhere')").unwrap();
    (0..WAITING)
        .map(|n| {
            let mut other = cluster.connect("postgres");
            other
                .execute("select pgq.register_consumer('elsewhere', $1)", &[&n.to_string()])
                .unwrap();
            thread::spawn(move || {
                let seconds = BESIDE.1 + 3;
                let wait = format!("call pgq.wait_batch('elsewhere', '{n}', '{seconds} s')");
                other.batch_execute(&wait).unwrap();
            })
        })
        .collect()
}

/// Short writing transactions until told to stop.
fn be_busy(mut client: Client, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let stop = Arc::clone(stop);
    client.batch_execute("create table t (n bigint)").unwrap();
    thread::spawn(move || {
        let insert = client.prepare("insert into t values (1)").unwrap();
        let start = Instant::now();
        for n in 0.. {
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let due = start + Duration::from_secs(1) / BUSY * n;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            client.execute(&insert, &[]).unwrap();
        }
    })
}

fn measure(cluster: &Cluster, client: &mut Client, company: &str, load: Load, floor: f64) {
    let (rate, seconds, producers) = load;
    let epoch = Instant::now();
    let queue = format!("{company} {rate}");
    client.execute("select pgq.create_queue($1)", &[&queue]).unwrap();
    client.execute("select pgq.register_consumer($1, 'c')", &[&queue]).unwrap();
    let total = (rate * seconds) as usize;
    let consumer = {
        let (queue, mut client) = (queue.clone(), cluster.connect("postgres"));
        thread::spawn(move || consume(&mut client, &queue, total, epoch))
    };
    thread::sleep(Duration::from_millis(300));
    let pid = worker(client);
    let ticks = "select demand_ticks from pgq.worker_status() where database_name = 'postgres'";
    let (ticks_before, cpu_before) = (number(client, ticks), cpu(pid));
    let start = Instant::now();
    let threads: Vec<_> = (0..producers)
        .map(|n| {
            let (queue, mut client) = (queue.clone(), cluster.connect("postgres"));
            let gap = Duration::from_secs(1) / rate;
            thread::spawn(move || {
                let insert = client.prepare("select pgq.insert_event($1, 'bench', $2)").unwrap();
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
    let (mut latencies, batches) = consumer.join().unwrap();
    let per_tick = (cpu(pid) - cpu_before) / 1e6 / (number(client, ticks) - ticks_before) as f64;
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "  {rate:>8}  {company:<32} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>7.1} {:>8.1} {per_tick:>7.2}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        at(0.5) / floor,
        latencies.len() as f64 / batches as f64
    );
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
