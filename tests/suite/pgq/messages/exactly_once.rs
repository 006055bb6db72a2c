//! Each message is processed once by each consumer, however many receive as it, whatever they do
//! with its pages, and whenever they die.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::Duration;

use pgq_tests::query::{row, rows, run};
use pgq_tests::{Cluster, PATIENCE, Random, Stop, wait_until};
use postgres::{Client, NoTls, Row, Transaction};

const SETUP: &str = "
    create extension pgq;
    select pgq.create_queue('q'), pgq.subscribe('q', 'c'), pgq.subscribe('q', 'd');
    select pgq.set_queue_config('q', 'max_retries', '1000000');
    update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0',
        queue_rotation_period = '10 ms';
    create table sent (msg_id bigint primary key);
    create table done (consumer text, msg_id bigint)";

/// What is not due: a deadlock, an error of any kind but two.
#[derive(Default)]
struct Run {
    stop: AtomicBool,
    faults: Mutex<Vec<String>>,
}

impl Run {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || !self.faults.lock().unwrap().is_empty()
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
                    // The batch is somebody else's now.
                    Some(code) if code == "42704" => {}
                    // The server goes down, or the connection is lost.
                    Some(code) if code.starts_with("57P0") => break,
                    None if error.is_closed() || error.to_string().contains("communicating") => {
                        break;
                    }
                    _ => self.faults.lock().unwrap().push(format!("{error:?}")),
                }
            }
        }
    }
}

fn produce(client: &mut Client, random: &mut Random) -> Result<(), postgres::Error> {
    let behind = "select max(pending_events) > 2000 from pgq.get_consumer_info('q')";
    if client.query_one(behind, &[])?.get(0) {
        // Pace: of producers that are faster than the consumers.
        thread::sleep(Duration::from_millis(5));
        return Ok(());
    }
    let mut transaction = client.transaction()?;
    let count = i64::try_from(1 + random.below(30)).unwrap();
    transaction.execute(
        "insert into sent select unnest(pgq.send_batch('q', 't', array_agg(n::text)))
           from generate_series(1, $1::bigint) n",
        &[&count],
    )?;
    if random.one_in(10) { transaction.rollback() } else { transaction.commit() }
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

/// Receive in the transaction that processes, or before it; process all, or some.
fn consume(
    client: &mut Client,
    random: &mut Random,
    consumer: &str,
) -> Result<(), postgres::Error> {
    let most = [1, 2, 7, 100, 100_000][usize::try_from(random.below(5)).unwrap()];
    let receive = "select batch_id, msg_id from pgq.receive('q', $1, $2)";
    if random.one_in(2) {
        let mut transaction = client.transaction()?;
        let page = transaction.query(receive, &[&consumer, &most])?;
        return process(transaction, random, consumer, &page);
    }
    let page = client.query(receive, &[&consumer, &most])?;
    process(client.transaction()?, random, consumer, &page)
}

fn process(
    mut transaction: Transaction<'_>,
    random: &mut Random,
    consumer: &str,
    page: &[Row],
) -> Result<(), postgres::Error> {
    let Some(first) = page.first() else { return transaction.commit() };
    let batch: i64 = first.get(0);
    let is_part = random.one_in(4);
    let part = if is_part {
        usize::try_from(random.below(page.len() as u64)).unwrap() + 1
    } else {
        page.len()
    };
    let ids: Vec<i64> = page[..part].iter().map(|row| row.get(1)).collect();
    let mut processed = Vec::new();
    for id in &ids {
        if random.one_in(30) {
            transaction.query("select pgq.nack($1, $2, '0')", &[&batch, id])?;
        } else {
            processed.push(*id);
        }
    }
    transaction
        .execute("insert into done select $1, unnest($2::bigint[])", &[&consumer, &processed])?;
    if is_part {
        transaction.query("select pgq.ack($1, $2)", &[&batch, ids.last().unwrap()])?;
    } else {
        transaction.query("select pgq.ack($1)", &[&batch])?;
    }
    if random.one_in(10) { transaction.rollback() } else { transaction.commit() }
}

/// Producers, maintenance, and receivers of two consumers.
fn begin<'s>(scope: &'s Scope<'s, '_>, running: &'s Run, conninfo: &'s str, random: &mut Random) {
    for _ in 0..2 {
        let mut random = random.fork();
        scope.spawn(move || running.keep_going(conninfo, |client| produce(client, &mut random)));
    }
    scope.spawn(move || running.keep_going(conninfo, maintain));
    for consumer in ["c", "c", "c", "d", "d"] {
        let mut random = random.fork();
        scope.spawn(move || {
            running.keep_going(conninfo, |client| consume(client, &mut random, consumer));
        });
    }
}

/// Process what is left, and compare.
fn settle(client: &mut Client, random: &mut Random) {
    let is_settled = wait_until(PATIENCE, || {
        maintain(client).unwrap();
        for consumer in ["c", "d"] {
            consume(client, random, consumer).unwrap();
        }
        row(
            client,
            "select (select count(*) from done) = 2 * (select count(*) from sent)
                    and not exists (select 1 from pgq.retry_queue)",
        ) == "t"
    });
    let left = "select consumer, count(*) from done group by 1
                 union all select 'sent', count(*) from sent
                 union all select 'to retry', count(*) from pgq.retry_queue";
    assert!(is_settled, "{:?}", rows(client, left));
    // As many as must be: so none is missing if none is there twice, or was never sent.
    let twice = "select consumer, msg_id from done group by 1, 2 having count(*) > 1 limit 5";
    assert_eq!(rows(client, twice), Vec::<String>::new());
    let strange = "select count(*) from done where msg_id not in (select msg_id from sent)";
    assert_eq!(row(client, strange), "0");
    assert_eq!(row(client, "select count(*) from pgq.dead_letter"), "0");
}

fn count(client: &mut Client) -> u64 {
    row(client, "select count(*) from done").parse().unwrap()
}

#[test]
fn each_message_is_processed_once_whoever_receives_it() {
    let mut random = Random::for_test("messages");
    let cluster = Cluster::builder().set("synchronous_commit", "off").start();
    let mut client = cluster.connect("postgres");
    run(&mut client, SETUP);
    let conninfo = cluster.conninfo("postgres");
    let running = Run::default();
    let has_gone_on = thread::scope(|scope| {
        begin(scope, &running, &conninfo, &mut random);
        let mut switches = BTreeSet::new();
        let goes_on = wait_until(PATIENCE, || {
            switches.insert(row(&mut client, "select queue_switch_step1 from pgq.queue"));
            running.is_over() || (count(&mut client) >= 6000 && switches.len() > 5)
        });
        running.stop.store(true, Ordering::SeqCst);
        goes_on
    });
    assert_eq!(*running.faults.lock().unwrap(), Vec::<String>::new());
    assert!(has_gone_on, "{} messages done", count(&mut client));
    settle(&mut client, &mut random);
}

#[test]
fn each_message_is_processed_once_when_the_server_is_killed() {
    let mut random = Random::for_test("messages under kill");
    let mut cluster = Cluster::builder().start();
    run(&mut cluster.connect("postgres"), SETUP);
    let conninfo = cluster.conninfo("postgres");
    let running = Run::default();
    thread::scope(|scope| {
        begin(scope, &running, &conninfo, &mut random);
        for _ in 0..3 {
            let mut client = cluster.connect("postgres");
            let goal = count(&mut client) + 100 + random.below(400);
            let goes_on = wait_until(PATIENCE, || running.is_over() || count(&mut client) >= goal);
            if !goes_on {
                running.faults.lock().unwrap().push(format!("{} done", count(&mut client)));
            }
            cluster.stop(Stop::Kill);
            cluster.start();
        }
        running.stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(*running.faults.lock().unwrap(), Vec::<String>::new());
    settle(&mut cluster.connect("postgres"), &mut random);
}
