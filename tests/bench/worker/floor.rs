//! The least that an event's way could take on a server: an insertion whose commit wakes another
//! backend, which commits, too, and answers its client.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgq_tests::Cluster;
use postgres::{Client, Statement};

use crate::number;

/// Between two rounds everything comes to rest.
const GAP: Duration = Duration::from_millis(15);

/// The least that the path could take: the median time from sending an insertion to the answer of
/// another backend, which its commit wakes, and which commits before it answers.
pub(crate) fn floor(cluster: &Cluster, client: &mut Client, rounds: usize) -> i64 {
    client.batch_execute("create table floor (n integer)").unwrap();
    let (report, reported) = mpsc::channel();
    let (tell, told) = mpsc::channel::<()>();
    let mut other = cluster.connect("postgres");
    let wakened = thread::spawn(move || {
        let insert = prepare_wakened(&mut other);
        for () in told {
            other.execute(&insert, &[]).unwrap();
            report.send(now()).unwrap();
        }
    });
    let waits = "count(*) from pg_locks where locktype = 'advisory' and not granted";
    let mut producer = cluster.connect("postgres");
    producer.batch_execute("prepare send as insert into floor values (1)").unwrap();
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        producer.batch_execute("begin; select pg_advisory_xact_lock(1)").unwrap();
        tell.send(()).unwrap();
        while number(client, &format!("select {waits}")) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(GAP);
        let sent = now();
        producer.batch_execute("execute send; commit").unwrap();
        times.push(reported.recv().unwrap() - sent);
    }
    drop(tell);
    wakened.join().unwrap();
    middle(times)
}

fn prepare_wakened(client: &mut Client) -> Statement {
    client
        .prepare(
            "with l as materialized (select pg_advisory_xact_lock(1))
             insert into floor select 1 from l",
        )
        .unwrap()
}

/// The middle value.
pub(crate) fn middle(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Microseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}
