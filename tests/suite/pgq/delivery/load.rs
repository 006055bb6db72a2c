//! The load: threads that produce, tick, rotate and consume until told to stop, through any loss of
//! connection.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use pgq_tests::{Cluster, PATIENCE, Random, wait_until};
use postgres::{Client, NoTls};

const CONSUMERS: [&str; 2] = ["by_function", "by_cursor"];

struct Shared {
    conninfo: String,
    stop_producing: AtomicBool,
    stop_all: AtomicBool,
    committed: AtomicU64,
    rotations: AtomicU64,
    produced: Mutex<Produced>,
}

/// What the producers know of their events.
#[derive(Default)]
struct Produced {
    committed: HashSet<String>,
    /// The connection broke during COMMIT.
    unknown: HashSet<String>,
}

/// What one consumer got.
#[derive(Default)]
struct Received {
    /// How often each event came in a batch whose finish was confirmed.
    finished: HashMap<String, u32>,
    /// Events of batches whose finish was not confirmed.
    unconfirmed: HashSet<String>,
}

/// A running load.
pub(super) struct Load {
    shared: Arc<Shared>,
    producers: Vec<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<Received>>,
}

/// The result of a load.
pub(super) struct Outcome {
    produced: Produced,
    received: Vec<Received>,
}

impl Load {
    /// Create the queue `load` in database postgres and set everything going.
    pub(super) fn start(cluster: &Cluster, random: &mut Random) -> Self {
        let mut client = cluster.connect("postgres");
        client
            .batch_execute(
                "create extension pgq;
                 select pgq.create_queue('load');
                 update pgq.queue set queue_rotation_period = '1 ms', queue_ticker_max_lag = '0',
                        queue_ticker_idle_period = '0', queue_batch_max_count = 200;",
            )
            .unwrap();
        for consumer in CONSUMERS {
            client.execute("select pgq.register_consumer('load', $1)", &[&consumer]).unwrap();
        }
        let shared = Arc::new(Shared {
            conninfo: cluster.conninfo("postgres"),
            stop_producing: AtomicBool::new(false),
            stop_all: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            rotations: AtomicU64::new(0),
            produced: Mutex::default(),
        });
        let spawn = |work: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || work(&shared))
        };
        let producers = (0..4)
            .map(|number| {
                let (shared, random) = (Arc::clone(&shared), random.fork());
                std::thread::spawn(move || produce(&shared, number, random))
            })
            .collect();
        let helpers = vec![spawn(tick), spawn(tick), spawn(tick), spawn(rotate)];
        let consumers = CONSUMERS
            .into_iter()
            .map(|name| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || consume(&shared, name))
            })
            .collect();
        Self { shared, producers, helpers, consumers }
    }

    pub(super) fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Relaxed)
    }

    pub(super) fn rotations(&self) -> u64 {
        self.shared.rotations.load(Ordering::Relaxed)
    }

    /// Stop producing, let the consumers drain the queue, and stop everything.
    pub(super) fn finish(self) -> Outcome {
        self.shared.stop_producing.store(true, Ordering::Relaxed);
        for producer in self.producers {
            producer.join().unwrap();
        }
        // A tick whose snapshot has seen the last commit is behind each consumer.
        let mut client = Client::connect(&self.shared.conninfo, NoTls).unwrap();
        let end: i64 = client.query_one("select txid_current()", &[]).unwrap().get(0);
        let drained = wait_until(PATIENCE, || {
            let sql = "select coalesce(bool_and(txid_snapshot_xmin(t.tick_snapshot) > $1), false)
                         from pgq.subscription s
                         join pgq.tick t on t.tick_queue = s.sub_queue
                             and t.tick_id = s.sub_last_tick";
            client.query_one(sql, &[&end]).unwrap().get(0)
        });
        assert!(drained, "the consumers did not drain the queue");
        self.shared.stop_all.store(true, Ordering::Relaxed);
        for helper in self.helpers {
            helper.join().unwrap();
        }
        let received =
            self.consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
        let produced = std::mem::take(&mut *self.shared.produced.lock().unwrap());
        Outcome { produced, received }
    }
}

impl Outcome {
    /// Without crashes everything is known: each committed event once, and no other.
    pub(super) fn assert_exactly_once(&self) {
        assert!(self.produced.unknown.is_empty());
        self.assert_nothing_lost();
        for received in &self.received {
            assert!(received.unconfirmed.is_empty());
            assert_eq!(received.finished.len(), self.produced.committed.len());
        }
    }

    /// Each committed event came; none came twice in finished batches; none that was rolled back
    /// came.
    pub(super) fn assert_nothing_lost(&self) {
        for (received, consumer) in self.received.iter().zip(CONSUMERS) {
            for event in &self.produced.committed {
                let came =
                    received.finished.contains_key(event) || received.unconfirmed.contains(event);
                assert!(came, "{consumer} did not get committed event {event}");
            }
            for (event, times) in &received.finished {
                assert_eq!(*times, 1, "{consumer} finished event {event} more than once");
                let exists = self.produced.committed.contains(event)
                    || self.produced.unknown.contains(event);
                assert!(exists, "{consumer} got event {event}, which was rolled back");
            }
        }
    }
}

/// Run `step` with a connection until `stop`; a broken connection is made again, any other error is
/// a failed test.
fn with_connection(
    shared: &Shared,
    stop: &AtomicBool,
    mut step: impl FnMut(&mut Client) -> Result<(), postgres::Error>,
) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(connected) = &mut client else {
            client = Client::connect(&shared.conninfo, NoTls).ok();
            if client.is_none() {
                std::thread::yield_now();
            }
            continue;
        };
        if let Err(error) = step(connected) {
            // 57P0x: the server goes down or comes up.
            let code = error.code().map(|code| code.code().to_owned());
            let is_lost =
                error.is_closed() || code.as_deref().is_none_or(|code| code.starts_with("57P"));
            assert!(is_lost, "{error:?}");
            client = None;
        }
    }
}

fn produce(shared: &Shared, number: usize, mut random: Random) {
    let mut serial = 0u64;
    with_connection(shared, &shared.stop_producing, |client| {
        serial += 1;
        let mut kept: Vec<String> = Vec::new();
        let level = if random.one_in(2) { "repeatable read" } else { "read committed" };
        client.batch_execute(&format!("begin isolation level {level}"))?;
        // Consumers must keep up: a queue whose readers lag does not rotate.
        client.batch_execute(&format!("select pg_sleep(0.0{:02})", random.below(30)))?;
        if random.one_in(2) {
            // A snapshot without a transaction id, held while the queue may rotate.
            client
                .batch_execute(&format!("select 1; select pg_sleep(0.00{})", random.below(10)))?;
        }
        for n in 0..random.below(6) + 1 {
            let event = format!("{number}:{serial}:{n}");
            if random.one_in(3) {
                client.batch_execute("savepoint part")?;
                insert(client, &mut random, &event)?;
                if random.one_in(2) {
                    client.batch_execute("rollback to part")?;
                } else {
                    kept.push(event);
                }
            } else {
                insert(client, &mut random, &event)?;
                kept.push(event);
            }
        }
        if random.one_in(5) {
            return client.batch_execute("rollback");
        }
        let result = client.batch_execute("commit");
        let mut produced = shared.produced.lock().unwrap();
        if result.is_ok() {
            shared.committed.fetch_add(kept.len() as u64, Ordering::Relaxed);
            produced.committed.extend(kept);
        } else {
            produced.unknown.extend(kept);
        }
        result
    });
}

/// One event through one of the ways in.
fn insert(client: &mut Client, random: &mut Random, event: &str) -> Result<(), postgres::Error> {
    match random.below(3) {
        0 => client.execute("select pgq.insert_event('load', 'type', $1)", &[&event]),
        1 => {
            client.execute("select pgq.insert_events('load', array['type'], array[$1])", &[&event])
        }
        _ => client.execute(
            "select pgq.insert_event('load', 'type', $1, null, null, null, null)",
            &[&event],
        ),
    }
    .map(|_| ())
}

fn tick(shared: &Shared) {
    with_connection(shared, &shared.stop_all, |client| {
        // Readers that lag hold rotation back: ticks wait for them, so that both go on.
        client.batch_execute(
            "select case when (select max(tick_id) from pgq.tick) - (select min(sub_last_tick) from pgq.subscription) < 10
                         then pgq.ticker('load') end, pg_sleep(0.002)",
        )
    });
}

fn rotate(shared: &Shared) {
    let mut current: i32 = 0;
    with_connection(shared, &shared.stop_all, |client| {
        client.batch_execute("select pgq.maint_rotate_tables_step1('load')")?;
        client.batch_execute("select pgq.maint_rotate_tables_step2()")?;
        let row = client.query_one("select queue_cur_table from pgq.queue", &[])?;
        if row.get::<_, i32>(0) != current {
            current = row.get(0);
            shared.rotations.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
}

fn consume(shared: &Shared, name: &str) -> Received {
    let mut received = Received::default();
    with_connection(shared, &shared.stop_all, |client| {
        let batch: Option<i64> =
            client.query_one("select pgq.next_batch('load', $1)", &[&name])?.get(0);
        let Some(batch) = batch else { return Ok(()) };
        let sql = if name == "by_cursor" {
            "select ev_id, ev_data from pgq.get_batch_cursor($1, 'c', 1000000)"
        } else {
            "select ev_id, ev_data from pgq.get_batch_events($1)"
        };
        let events = client.query(sql, &[&batch])?;
        let ids: Vec<i64> = events.iter().map(|row| row.get(0)).collect();
        assert!(ids.is_sorted(), "events of a batch are out of order: {ids:?}");
        let finished = client.query_one("select pgq.finish_batch($1)", &[&batch]);
        for row in events {
            let event: String = row.get(1);
            if finished.is_ok() {
                *received.finished.entry(event).or_default() += 1;
            } else {
                received.unconfirmed.insert(event);
            }
        }
        finished.map(|_| ())
    });
    received
}
