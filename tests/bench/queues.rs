//! A queue of jobs, eight producers and eight workers that do nothing with them, next to job tables
//! of others, in one run: messages a second from the first sent to the last done, and the dead rows
//! that are left. Each in a database of its own, on a server with default settings; then again
//! beside a transaction that is open all the time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgq_client::{Consumer, Stop};
use pgq_tests::{Cluster, wait_until};
use postgres::Client;

use crate::servers::Servers;

const LANES: usize = 8;
const PAYLOAD: &str = "{\"n\": 1}";
/// Longest time between looks of workers that cannot wait.
const POLL: Duration = Duration::from_millis(5);

/// Who runs, in a database of the server: seconds for so many messages.
type Contestant = (&'static str, fn(&Cluster, &str, usize) -> f64);

const CONTESTANTS: [Contestant; 6] = [
    ("pgq, 8 members of a group, a batch a transaction", members),
    ("pgq, one worker, a message a transaction", one_by_one),
    ("raw SKIP LOCKED", raw),
    ("pg-boss 10.4.2", pg_boss),
    ("graphile-worker 0.16.6", graphile_worker),
    ("PgQueuer 1.6.0", pgqueuer),
];

pub(crate) fn run(_: &Servers) {
    let count = std::env::var("MESSAGES").map_or(10_000, |text| text.parse().unwrap());
    println!("queues ({count} messages, {LANES} producers with a transaction a message)");
    if !installed().join(".complete").exists() {
        println!("  the others are left out: tests/env/queues.sh could not install them");
    }
    // One for each of the databases, which the launcher looks into.
    let cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("max_worker_processes", 20)
        .start();
    for is_held in [false, true] {
        println!("  {}", if is_held { "beside an open transaction:" } else { "alone:" });
        for (number, (name, contestant)) in CONTESTANTS.iter().enumerate() {
            if number > 2 && !installed().join(".complete").exists() {
                continue;
            }
            let database = format!("queues_{number}_{is_held}");
            let mut maintenance = cluster.connect("postgres");
            maintenance.batch_execute(&format!("create database {database}")).unwrap();
            let mut holder = cluster.connect(&database);
            if is_held {
                let hold = "begin isolation level repeatable read; select txid_current()";
                holder.batch_execute(hold).unwrap();
            }
            let seconds = contestant(&cluster, &database, count);
            println!(
                "    {name:<50}{:>8.0} messages/s, {:>8} dead rows",
                count as f64 / seconds,
                dead_rows(&mut maintenance, &cluster, &database)
            );
        }
    }
}

/// Rows that nobody sees and that are still there, once all who made them are gone.
fn dead_rows(maintenance: &mut Client, cluster: &Cluster, database: &str) -> i64 {
    let others = "select count(*) from pg_stat_activity
                   where datname = $1 and backend_type = 'client backend'";
    let alone = wait_until(Duration::from_secs(60), || {
        maintenance.query_one(others, &[&database]).unwrap().get::<_, i64>(0) <= 1
    });
    assert!(alone, "the sessions of {database} end");
    let dead = "select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables";
    cluster.connect(database).query_one(dead, &[]).unwrap().get(0)
}

/// Send by eight threads, a statement for each message, while `work` does what eight others do.
/// Seconds until as many are done.
fn time(
    cluster: &Cluster,
    database: &str,
    count: usize,
    send: &str,
    work: impl Fn(Client, usize, &AtomicUsize) + Sync,
) -> f64 {
    let (sent, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for lane in 0..LANES {
            let (sent, done, work) = (&sent, &done, &work);
            scope.spawn(move || {
                let mut client = cluster.connect(database);
                let statement = client.prepare(send).unwrap();
                while sent.fetch_add(1, Ordering::Relaxed) < count {
                    client.execute(&statement, &[&PAYLOAD]).unwrap();
                }
            });
            scope.spawn(move || work(cluster.connect(database), lane, done));
        }
    });
    assert_eq!(done.into_inner(), count, "each message is done once");
    begin.elapsed().as_secs_f64()
}

fn pgq(cluster: &Cluster, database: &str, more: &str) {
    let set_up = format!("create extension pgq; select pgq.create_queue('q'); {more}");
    cluster.connect(database).batch_execute(&set_up).unwrap();
}

const SEND: &str = "select pgq.send('q', 'job', $1::text)";

/// The setting is for members, who cannot wait in the server and have ticks made.
fn members(cluster: &Cluster, database: &str, count: usize) -> f64 {
    pgq(
        cluster,
        database,
        "create extension pgq_coop; select pgq.set_queue_config('q', 'ticker_max_lag', '20 ms')",
    );
    let stop = Stop::new();
    for lane in 0..LANES {
        member(cluster, database, lane, &stop).register().unwrap();
    }
    time(cluster, database, count, SEND, |_, lane, done| {
        let mut member = member(cluster, database, lane, &stop);
        let run = member.run_batches(|batch| {
            while let Some(page) = batch.next_page()? {
                if done.fetch_add(page.len(), Ordering::Relaxed) + page.len() >= count {
                    stop.after_batch();
                }
            }
            Ok(())
        });
        run.unwrap();
    })
}

fn member(cluster: &Cluster, database: &str, lane: usize, stop: &Stop) -> Consumer {
    Consumer::builder("q", "workers")
        .cooperative(&format!("w{lane}"), None)
        .poll_interval(POLL)
        .stop(stop.clone())
        .connect(&cluster.conninfo(database))
        .unwrap()
}

fn one_by_one(cluster: &Cluster, database: &str, count: usize) -> f64 {
    pgq(cluster, database, "select pgq.subscribe('q', 'worker')");
    time(cluster, database, count, SEND, |mut client, lane, done| {
        if lane > 0 {
            return;
        }
        let receive = client.prepare("select batch_id from pgq.receive('q', 'worker', 1)").unwrap();
        let ack = client.prepare("select pgq.ack($1)").unwrap();
        while done.load(Ordering::Relaxed) < count {
            let mut transaction = client.transaction().unwrap();
            let message = transaction.query_opt(&receive, &[]).unwrap();
            if let Some(message) = message {
                transaction.query_one(&ack, &[&message.get::<_, i64>(0)]).unwrap();
                transaction.commit().unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            } else {
                transaction.commit().unwrap();
                client.batch_execute("call pgq.wait_batch('q', 'worker', '1 s')").unwrap();
            }
        }
    })
}

fn raw(cluster: &Cluster, database: &str, count: usize) -> f64 {
    let table = "create table job (
                     id bigint generated always as identity primary key, payload text)";
    cluster.connect(database).batch_execute(table).unwrap();
    let send = "insert into job (payload) values ($1)";
    time(cluster, database, count, send, |mut client, _, done| {
        let take = "select id, payload from job order by id limit 1 for update skip locked";
        let take = client.prepare(take).unwrap();
        let delete = client.prepare("delete from job where id = $1").unwrap();
        while done.load(Ordering::Relaxed) < count {
            let mut transaction = client.transaction().unwrap();
            let Some(job) = transaction.query_opt(&take, &[]).unwrap() else {
                transaction.commit().unwrap();
                std::thread::sleep(POLL);
                continue;
            };
            transaction.execute(&delete, &[&job.get::<_, i64>(0)]).unwrap();
            transaction.commit().unwrap();
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// Where `tests/env/queues.sh` has installed them.
fn installed() -> PathBuf {
    let work = std::env::var_os("PGQ_WORK").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    work.join("queues")
}

/// Run one of the scripts beside this file, which times itself.
fn script(
    mut program: Command,
    script: &str,
    cluster: &Cluster,
    database: &str,
    count: usize,
) -> f64 {
    let connection = serde_json::json!({
        "host": cluster.dir(), "port": cluster.port(), "user": "postgres", "database": database,
    });
    let output = program
        .env("NODE_PATH", installed().join("node_modules"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("bench/queues").join(script))
        .args([connection.to_string(), count.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn pg_boss(cluster: &Cluster, database: &str, count: usize) -> f64 {
    script(Command::new("node"), "pgboss.js", cluster, database, count)
}

fn graphile_worker(cluster: &Cluster, database: &str, count: usize) -> f64 {
    script(Command::new("node"), "graphile.js", cluster, database, count)
}

fn pgqueuer(cluster: &Cluster, database: &str, count: usize) -> f64 {
    let python = Command::new(installed().join("python/bin/python"));
    script(python, "pgqueuer_run.py", cluster, database, count)
}
