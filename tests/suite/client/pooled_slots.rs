//! Workers on the slots of a consumer, through pgbouncer in transaction mode: what one receives,
//! another one's session may acknowledge, and each page may be read by a session that has none of
//! the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use pgq_tests::query::{row, rows, run, try_rows};
use pgq_tests::{Cluster, PATIENCE, wait_until};
use postgres::{Client, NoTls};

use crate::client::pooler::Pgbouncer;

const MESSAGES: usize = 400;
const WORKERS: usize = 6;

/// Receive, process and acknowledge, each in a transaction of its own; how many.
fn work(client: &mut Client, worker: usize) -> usize {
    let page = try_rows(
        client,
        &format!(
            "select batch_id, key, payload from pgq.receive('q', 'c', 7, worker => 'w{worker}')"
        ),
    )
    .unwrap();
    let Some(batch) = page.first().and_then(|message| message.split('|').next()) else { return 0 };
    let done: Vec<_> = page
        .iter()
        .map(|message| {
            let mut fields = message.split('|').skip(1);
            format!("('{}', {})", fields.next().unwrap(), fields.next().unwrap())
        })
        .collect();
    run(
        client,
        &format!(
            "begin; insert into done (key, n) values {}; select pgq.ack({batch}); commit",
            done.join(", ")
        ),
    );
    page.len()
}

#[test]
fn keys_stay_in_order_through_pgbouncer_in_transaction_mode() {
    let cluster = Cluster::builder().start();
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "create extension pgq;
         create table done (place serial, key text, n int);
         select pgq.create_queue('q'), pgq.subscribe('q', 'c', slots => 4)",
    );
    run(
        &mut client,
        &format!(
            "select pgq.send_batch('q', 't', array_agg(n::text order by n),
                                   array_agg('k' || n % 20 order by n))
               from generate_series(1, {MESSAGES}) n"
        ),
    );
    run(&mut client, "select pgq.force_tick('q')");
    run(&mut client, "select pgq.ticker('q')");
    let bouncer = Pgbouncer::start_in("transaction", &cluster, 2);
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (dsn, done) = (bouncer.dsn(), &done);
            scope.spawn(move || {
                let mut client = Client::connect(&dsn, NoTls).unwrap();
                wait_until(PATIENCE, || {
                    let count = work(&mut client, worker);
                    if count == 0 {
                        // Pace: of workers that have nothing to do.
                        thread::sleep(Duration::from_millis(10));
                    }
                    done.fetch_add(count, Ordering::SeqCst) + count >= MESSAGES
                })
            });
        }
    });
    assert_eq!(row(&mut client, "select count(*), count(distinct n) from done"), "400|400");
    let late = "select a.key, a.n, b.n from done a join done b using (key)
                 where a.n < b.n and a.place > b.place";
    assert_eq!(rows(&mut client, late), Vec::<String>::new());
}
