//! From PgQ 3.5 to another server, while producers, triggers, upstream's daemon and a consumer go
//! on: each event arrives once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pgq_tests::{Cluster, PATIENCE, Stop, wait_until};
use postgres::{Client, NoTls};

use crate::install::pgqd;
use crate::pgq::upgrade::released::{create_upstream, swap_libraries};
use pgq_tests::query::{row, run};

const SETUP: &str = "
    select pgq.create_queue('q'), pgq.register_consumer('q', 'c');
    update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '1 s',
        queue_rotation_period = '10 ms';
    create table by_url (n int primary key);
    create trigger log after insert on by_url for each row execute function pgq.logutriga('q');
    create table by_sql (n int primary key);
    create trigger log after insert on by_sql for each row execute function pgq.sqltriga('q')";

/// One producer for each; the digits at the end of an event's data are its number.
const WAYS: [&str; 4] = [
    "select pgq.insert_event('q', 't', '$n')",
    "select pgq.insert_event('q', 't', '$n', null, null, null, null)",
    "insert into by_url values ($n)",
    "insert into by_sql values ($n)",
];

/// What producers and consumer know, whatever server they are connected to.
#[derive(Default)]
struct Ledger {
    next: AtomicU32,
    stop: AtomicBool,
    /// Numbers of events whose transaction was acknowledged.
    stored: Mutex<BTreeSet<u32>>,
    /// Numbers of events in the order they arrived.
    arrived: Mutex<Vec<u32>>,
    /// What went wrong and must not, with a server that is there.
    faults: Mutex<Vec<String>>,
}

impl Ledger {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn arrived(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    /// Run `turn` with a connection that is made again when it is lost, until the stop.
    fn keep_going(
        &self,
        conninfo: &str,
        mut turn: impl FnMut(&mut Client) -> Result<(), postgres::Error>,
    ) {
        while !self.is_stopped() {
            let Ok(mut client) = Client::connect(conninfo, NoTls) else {
                // Pace: of attempts to reach a server that restarts.
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            while !self.is_stopped() {
                let Err(error) = turn(&mut client) else { continue };
                // Class 57: the server goes down. Without a code: the connection is lost.
                if let Some(code) = error.code().filter(|code| !code.code().starts_with("57P0")) {
                    self.faults.lock().unwrap().push(format!("{}: {error:?}", code.code()));
                    return;
                }
                break;
            }
        }
    }

    fn produce(&self, conninfo: &str, way: &str) {
        self.keep_going(conninfo, |client| {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            client.batch_execute(&way.replace("$n", &number.to_string()))?;
            self.stored.lock().unwrap().insert(number);
            Ok(())
        });
    }

    fn consume(&self, conninfo: &str) {
        // What was read of a batch whose end was not acknowledged.
        let mut doubtful: Option<(i64, Vec<u32>)> = None;
        self.keep_going(conninfo, |client| {
            if let Some((batch, numbers)) = doubtful.take() {
                let open: i64 = client
                    .query_one("select count(*) from pgq.subscription where sub_batch = $1", &[&batch])?
                    .get(0);
                if open == 0 {
                    self.arrived.lock().unwrap().extend(numbers);
                }
            }
            let batch: Option<i64> =
                client.query_one("select pgq.next_batch('q', 'c')", &[])?.get(0);
            let Some(batch) = batch else {
                // Pace: of looks for a batch.
                thread::sleep(Duration::from_millis(5));
                return Ok(());
            };
            let numbers: Vec<u32> = client
                .query(
                    "select (regexp_match(ev_data, '([0-9]+)[^0-9]*$'))[1] from pgq.get_batch_events($1)",
                    &[&batch],
                )?
                .iter()
                .map(|row| row.get::<_, String>(0).parse().unwrap())
                .collect();
            doubtful = Some((batch, numbers));
            client.execute("select pgq.finish_batch($1)", &[&batch])?;
            self.arrived.lock().unwrap().extend(doubtful.take().unwrap().1);
            Ok(())
        });
    }

    /// Let it run until the queue has been rotated twice, so that a table is emptied or not read
    /// any more that somebody may still write to, and many events have arrived.
    fn go_on(&self, conninfo: &str, phase: &str) {
        let mut client = Client::connect(conninfo, NoTls).unwrap();
        let table = "select queue_cur_table from pgq.queue";
        let (mut before, mut rotations, begin) = (row(&mut client, table), 0, self.arrived());
        let done = wait_until(PATIENCE, || {
            let now = row(&mut client, table);
            if now != before {
                before = now;
                rotations += 1;
            }
            (rotations >= 2 && self.arrived() >= begin + 200)
                || !self.faults.lock().unwrap().is_empty()
        });
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{phase}: {faults:?}");
        assert!(done, "{phase}: {rotations} rotations, {} events", self.arrived() - begin);
    }

    /// Producers and a consumer on a server, while `phases` happen.
    fn run(&self, conninfo: &str, phases: impl FnOnce()) {
        struct Stopper<'a>(&'a AtomicBool);
        impl Drop for Stopper<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        self.stop.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            let _stopper = Stopper(&self.stop);
            for way in WAYS {
                scope.spawn(move || self.produce(conninfo, way));
            }
            scope.spawn(|| self.consume(conninfo));
            phases();
        });
        let faults = self.faults.lock().unwrap();
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// A server whose roles exist, with database `events`.
fn server() -> Cluster {
    let cluster =
        Cluster::builder().set("fsync", "off").set("pgq.discovery_period", "200ms").start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension pgq");
    run(&mut client, "drop extension pgq");
    run(&mut client, "create database events");
    cluster
}

#[test]
fn no_event_is_lost_or_doubled_on_the_way_from_3_5() {
    let ledger = Ledger::default();
    let dir = tempfile::tempdir().unwrap();
    let mut old = server();
    let conninfo = old.conninfo("events");
    let mut admin = old.connect("events");
    create_upstream(&mut admin);
    run(&mut admin, SETUP);
    let daemon = pgqd::start(&old, &dir.path().join("old.ini"));
    ledger.run(&conninfo, || {
        ledger.go_on(&conninfo, "PgQ 3.5");
        swap_libraries(&mut admin);
        ledger.go_on(&conninfo, "other libraries under running sessions");
        old.restart();
        ledger.go_on(&conninfo, "new sessions");
        old.write_settings(&[
            ("shared_preload_libraries".to_owned(), "pgq".to_owned()),
            ("pgq.maint_period".to_owned(), "100ms".to_owned()),
        ]);
        old.restart();
        ledger.go_on(&conninfo, "our worker beside the daemon");
        run(&mut old.connect("events"), "alter extension pgq update");
        ledger.go_on(&conninfo, "updated");
    });
    drop(daemon);

    // To another server, which has given out fewer transaction ids, with what nobody has read yet.
    let mut admin = old.connect("events");
    run(&mut admin, "select pgq.stop_worker()");
    for way in WAYS {
        let number = ledger.next.fetch_add(1, Ordering::SeqCst);
        run(&mut admin, &way.replace("$n", &number.to_string()));
        ledger.stored.lock().unwrap().insert(number);
    }
    drop(admin);
    let dump = dir.path().join("dump.sql");
    let status = old.command("pg_dump").args(["-d", "events", "-f"]).arg(&dump).status().unwrap();
    assert!(status.success());
    old.stop(Stop::Fast);
    let new = server();
    let status = new
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "events", "-f"])
        .arg(&dump)
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let mut admin = new.connect("events");
    run(&mut admin, "select pgq.rebase()");
    let conninfo = new.conninfo("events");
    let _daemon = pgqd::start(&new, &dir.path().join("new.ini"));
    ledger.run(&conninfo, || ledger.go_on(&conninfo, "restored"));

    // The rest, by a consumer alone.
    ledger.stop.store(false, Ordering::SeqCst);
    thread::scope(|scope| {
        scope.spawn(|| ledger.consume(&conninfo));
        let missing = || {
            let arrived: BTreeSet<u32> = ledger.arrived.lock().unwrap().iter().copied().collect();
            ledger.stored.lock().unwrap().difference(&arrived).count()
        };
        let all = wait_until(PATIENCE, || missing() == 0);
        ledger.stop.store(true, Ordering::SeqCst);
        assert!(all, "{} of {} events are lost", missing(), ledger.stored.lock().unwrap().len());
    });
    let arrived = ledger.arrived.lock().unwrap();
    let distinct: BTreeSet<u32> = arrived.iter().copied().collect();
    assert_eq!(distinct.len(), arrived.len(), "events came twice");
}
