//! 64 workers on the slots of one consumer: messages of a key are processed in order, each once,
//! and are never with two of them, while workers die, leases run out and the number of slots
//! changes. `PGQ_MESSAGES` says how many messages are sent in the large one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use pgq_tests::query::{row, rows, run};
use pgq_tests::{Cluster, PATIENCE, Random, Stop, wait_until};
use postgres::{Client, NoTls, Row, Transaction};

const SETUP: &str = "
    create extension pgq;
    select pgq.create_queue('q'), pgq.subscribe('q', 'c', slots => 16);
    update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0',
        queue_rotation_period = '10 ms', queue_batch_max_count = 500;
    select pgq.set_queue_config('q', 'max_retries', '1000000');
    create table sent (key text primary key, n bigint not null);
    create table done (key text primary key, n bigint not null);
    create table plain (n bigint primary key)";
const PRODUCERS: usize = 4;
const KEYS: usize = 100;
const WORKERS: usize = 64;

/// What goes on in a run.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// Leases run out, and the server is killed: messages may be with two workers then, of whom one
    /// is refused.
    has_failures: bool,
    /// Some messages are put aside: those lose their order.
    has_nacks: bool,
}

struct Run {
    kind: Kind,
    stop: AtomicBool,
    sent: AtomicUsize,
    /// Which worker has which key.
    held: Mutex<HashMap<String, usize>>,
    faults: Mutex<Vec<String>>,
}

impl Run {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            stop: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            held: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || !self.faults.lock().unwrap().is_empty()
    }

    fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// Take turns until the end, with a connection that is made again when it is lost.
    fn keep_going(
        &self,
        conninfo: &str,
        mut turn: impl FnMut(&mut Client) -> Result<(), postgres::Error>,
    ) {
        while !self.is_over() {
            let Ok(mut client) = Client::connect(conninfo, NoTls) else {
                // Pace: of attempts to reach a server that restarts.
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            while !self.is_over() {
                let Err(error) = turn(&mut client) else { continue };
                match error.code().map(|code| code.code().to_owned()) {
                    // Somebody else has the messages now, or waits to note them as done.
                    Some(code)
                        if ["42704", "40P01"].contains(&code.as_str())
                            && self.kind.has_failures => {}
                    Some(code) if code.starts_with("57P0") && self.kind.has_failures => break,
                    None if self.kind.has_failures => break,
                    _ => self.fault(format!("{error:?}")),
                }
            }
        }
    }

    fn hold(&self, worker: usize, messages: &[Row]) {
        if self.kind.has_failures {
            return;
        }
        let mut held = self.held.lock().unwrap();
        for key in messages.iter().filter_map(|message| message.get::<_, Option<String>>(2)) {
            if let Some(other) = held.insert(key.clone(), worker).filter(|other| *other != worker) {
                self.fault(format!("{key} is with {worker} and {other}"));
            }
        }
    }

    fn let_go(&self, worker: usize) {
        self.held.lock().unwrap().retain(|_, holder| *holder != worker);
    }
}

/// Send messages of keys that nobody else sends, numbered by key, and some without.
fn produce(
    client: &mut Client,
    running: &Run,
    random: &mut Random,
    producer: usize,
    goal: usize,
) -> Result<(), postgres::Error> {
    let behind = "select max(pending_events) > 20000 from pgq.get_consumer_info('q')";
    if running.sent.load(Ordering::SeqCst) >= goal
        || client.query_one(behind, &[])?.get::<_, Option<bool>>(0) == Some(true)
    {
        // Pace: of producers that are faster than the workers.
        thread::sleep(Duration::from_millis(10));
        return Ok(());
    }
    let count = 1 + usize::try_from(random.below(200)).unwrap();
    let keys: Vec<Option<String>> = (0..count)
        .map(|_| {
            let key = random.below(u64::try_from(KEYS + 10).unwrap());
            (key < u64::try_from(KEYS).unwrap()).then(|| format!("p{producer}k{key}"))
        })
        .collect();
    let mut transaction = client.transaction()?;
    // The payload is the message's number among those of its key, or among all without.
    transaction.execute(
        "with message as (
             select k, place, row_number() over (partition by k order by place) as own
               from unnest($1::text[]) with ordinality m (k, place)
         ), counted as (
             insert into sent as s (key, n)
             select coalesce(k, $2), count(*) from message group by 1
                 on conflict (key) do update set n = s.n + excluded.n
             returning s.key, s.n
         )
         select pgq.send_batch('q', 't',
                    array_agg((c.n - m.count + m.own)::text order by m.place),
                    array_agg(m.k order by m.place))
           from (select *, count(*) over (partition by k) from message) m
           join counted c on c.key = coalesce(m.k, $2)",
        &[&keys, &format!("p{producer}")],
    )?;
    if random.one_in(10) {
        return transaction.rollback();
    }
    transaction.commit()?;
    running.sent.fetch_add(count, Ordering::SeqCst);
    Ok(())
}

fn maintain(client: &mut Client) -> Result<(), postgres::Error> {
    for call in [
        "ticker()",
        "maint_retry_events()",
        "maint_rotate_tables_step1('q')",
        "maint_rotate_tables_step2()",
    ] {
        client.batch_execute(&format!("select pgq.{call}"))?;
    }
    Ok(())
}

/// Receive in the transaction that processes, or before it; process all, some, or nothing.
fn work(
    client: &mut Client,
    running: &Run,
    random: &mut Random,
    worker: usize,
) -> Result<(), postgres::Error> {
    running.let_go(worker);
    let most = [1, 7, 100, 100, 100_000][usize::try_from(random.below(5)).unwrap()];
    let name = format!("w{worker}");
    let receive =
        "select batch_id, msg_id, key, payload::bigint from pgq.receive('q', 'c', $1, $2)";
    if random.one_in(2) {
        let mut transaction = client.transaction()?;
        let page = transaction.query(receive, &[&most, &name])?;
        return process(transaction, running, random, worker, &page);
    }
    let page = client.query(receive, &[&most, &name])?;
    process(client.transaction()?, running, random, worker, &page)
}

fn process(
    mut transaction: Transaction<'_>,
    running: &Run,
    random: &mut Random,
    worker: usize,
    page: &[Row],
) -> Result<(), postgres::Error> {
    let Some(first) = page.first() else {
        transaction.commit()?;
        // Pace: of workers that have nothing to do.
        thread::sleep(Duration::from_millis(20));
        return Ok(());
    };
    running.hold(worker, page);
    let batch: i64 = first.get(0);
    if !page.is_sorted_by_key(|message| message.get::<_, i64>(1)) {
        running.fault(format!("page of {batch} is not in order"));
    }
    let is_part = random.one_in(4);
    let part = match is_part {
        true => usize::try_from(random.below(u64::try_from(page.len()).unwrap())).unwrap() + 1,
        false => page.len(),
    };
    let mut processed = Vec::new();
    for message in &page[..part] {
        if running.kind.has_nacks && random.one_in(30) {
            transaction
                .query("select pgq.nack($1, $2, '0')", &[&batch, &message.get::<_, i64>(1)])?;
        } else {
            processed.push(message);
        }
    }
    let keys: Vec<Option<String>> = processed.iter().map(|message| message.get(2)).collect();
    let numbers: Vec<i64> = processed.iter().map(|message| message.get(3)).collect();
    let is_next: bool = if running.kind.has_nacks {
        // Each once; nothing is said about their order.
        transaction.execute(
            "insert into plain
             select ('x' || substr(md5(k), 1, 8))::bit(32)::bigint * 1000000 + n
               from unnest($1::text[], $2::bigint[]) m (k, n) where k is not null",
            &[&keys, &numbers],
        )?;
        true
    } else {
        // Exactly those that come next of each key.
        transaction
            .query_one(
                "with message as (
                     select k, min(n) as low, max(n) as high, count(*) as count
                       from unnest($1::text[], $2::bigint[]) m (k, n)
                      where k is not null
                      group by k
                 ), updated as (
                     insert into done as d (key, n)
                     select k, high from message
                         on conflict (key) do update set n = excluded.n
                      where d.n = (select low - 1 from message where k = d.key)
                     returning key
                 )
                 select count(*) = (select count(*) from updated)
                        and coalesce(bool_and(high - low + 1 = count), true)
                   from message",
                &[&keys, &numbers],
            )?
            .get(0)
    };
    if is_part {
        let last: i64 = page[part - 1].get(1);
        transaction.query("select pgq.ack($1, $2)", &[&batch, &last])?;
    } else {
        transaction.query("select pgq.ack($1)", &[&batch])?;
    }
    if random.one_in(10) {
        // With the messages the slot may go.
        running.let_go(worker);
        return transaction.rollback();
    }
    if !is_next {
        running.fault(format!("{worker}: not the next ones of their keys: {keys:?} {numbers:?}"));
    }
    running.let_go(worker);
    transaction.commit()
}

/// What happens to them.
fn disturb(client: &mut Client, kind: Kind, random: &mut Random) -> Result<(), postgres::Error> {
    let slots = 1 + i32::try_from(random.below(24)).unwrap();
    client.query("select pgq.set_slots('q', 'c', $1)", &[&slots])?;
    if kind.has_failures {
        client.batch_execute(
            "update pgq.slot_worker set worker_until = now()
              where worker_name in (select worker_name from pgq.slot_worker
                                     order by random() limit 10)",
        )?;
    }
    // Pace: of changes, which take until all slots have come to one place.
    thread::sleep(Duration::from_millis(100 + random.below(300)));
    Ok(())
}

fn begin<'s>(
    scope: &'s Scope<'s, '_>,
    running: &'s Run,
    conninfo: &'s str,
    random: &mut Random,
    goal: usize,
) {
    for producer in 0..PRODUCERS {
        let mut random = random.fork();
        scope.spawn(move || {
            running.keep_going(conninfo, |client| {
                produce(client, running, &mut random, producer, goal)
            });
        });
    }
    scope.spawn(move || running.keep_going(conninfo, maintain));
    let mut own = random.fork();
    scope.spawn(move || {
        running.keep_going(conninfo, |client| disturb(client, running.kind, &mut own));
    });
    for worker in 0..WORKERS {
        let mut random = random.fork();
        scope.spawn(move || {
            running.keep_going(conninfo, |client| work(client, running, &mut random, worker));
        });
    }
}

const LEFT: &str = "
    select (select coalesce(sum(n), 0) from sent where key like '%k%')
           - (select coalesce(sum(n), 0) from done) - (select count(*) from plain)";

fn left(client: &mut Client) -> i64 {
    row(client, LEFT).parse().unwrap()
}

fn cluster() -> Cluster {
    Cluster::builder()
        .set("max_connections", "100")
        .set("synchronous_commit", "off")
        .set("deadlock_timeout", "100ms")
        .start()
}

fn check(running: &Run, client: &mut Client) {
    assert_eq!(*running.faults.lock().unwrap(), Vec::<String>::new());
    let wrong = "select s.key, s.n, d.n from sent s join done d using (key) where s.n <> d.n";
    assert_eq!(rows(client, wrong), Vec::<String>::new());
    assert_eq!(left(client), 0);
    assert_eq!(row(client, "select count(*) from pgq.retry_queue"), "0");
}

/// Until all is sent, and all of it done.
fn finish(running: &Run, client: &mut Client, goal: usize) -> bool {
    let is_done = wait_until(10 * PATIENCE, || {
        running.is_over()
            || (running.sent.load(Ordering::SeqCst) >= goal
                && left(client) == 0
                && row(client, "select count(*) from pgq.retry_queue") == "0")
    });
    running.stop.store(true, Ordering::SeqCst);
    is_done
}

#[test]
fn keys_stay_in_order_with_64_workers_while_the_number_of_slots_changes() {
    let mut random = Random::for_test("slots");
    let cluster = cluster();
    let mut client = cluster.connect("postgres");
    run(&mut client, SETUP);
    run(&mut client, "select pgq.set_queue_config('q', 'slot_lease', '1 day')");
    let conninfo = cluster.conninfo("postgres");
    let goal = std::env::var("PGQ_MESSAGES").ok().map_or(100_000, |most| most.parse().unwrap());
    let running = Run::new(Kind::default());
    let is_done = thread::scope(|scope| {
        begin(scope, &running, &conninfo, &mut random, goal);
        finish(&running, &mut client, goal)
    });
    check(&running, &mut client);
    assert!(is_done);
}

#[test]
fn keys_stay_in_order_when_leases_run_out_and_the_server_is_killed() {
    let mut random = Random::for_test("slots that fail");
    let mut cluster = cluster();
    run(&mut cluster.connect("postgres"), SETUP);
    let conninfo = cluster.conninfo("postgres");
    let running = Run::new(Kind { has_failures: true, has_nacks: false });
    let goal = 20_000;
    thread::scope(|scope| {
        begin(scope, &running, &conninfo, &mut random, goal);
        for _ in 0..2 {
            let mut client = cluster.connect("postgres");
            let done = "select coalesce(sum(n), 0) from done";
            let more = row(&mut client, done).parse::<u64>().unwrap() + 500 + random.below(3000);
            let goes_on = wait_until(PATIENCE, || {
                running.is_over() || row(&mut client, done).parse::<u64>().unwrap() >= more
            });
            if !goes_on {
                running.fault("nothing is done".to_owned());
            }
            cluster.stop(Stop::Kill);
            cluster.start();
        }
        finish(&running, &mut cluster.connect("postgres"), goal)
    });
    check(&running, &mut cluster.connect("postgres"));
}

#[test]
fn what_many_workers_put_aside_is_processed_once() {
    let mut random = Random::for_test("slots with nack");
    let cluster = cluster();
    let mut client = cluster.connect("postgres");
    run(&mut client, SETUP);
    run(&mut client, "alter table plain drop constraint plain_pkey; create index on plain (n)");
    let conninfo = cluster.conninfo("postgres");
    let running = Run::new(Kind { has_failures: true, has_nacks: true });
    let goal = 20_000;
    thread::scope(|scope| {
        begin(scope, &running, &conninfo, &mut random, goal);
        finish(&running, &mut client, goal)
    });
    let twice = "select n, count(*) from plain group by 1 having count(*) > 1 limit 5";
    assert_eq!(rows(&mut client, twice), Vec::<String>::new());
    check(&running, &mut client);
}
