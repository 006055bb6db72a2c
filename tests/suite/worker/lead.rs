//! A consumer that waits lays its tick itself, where it may; and whatever becomes of it then,
//! events come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use pgq_tests::query::run;
use pgq_tests::{PATIENCE, Scratch, Stop, scratch_database_with_worker, wait_until};
use postgres::Client;

use super::{consume, number, preloaded, quiet_queue, wait_batch, worker_pid};

fn waiting_room(consumers: &[&str]) -> (Scratch, Client) {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, consumers);
    worker_pid(&mut client);
    (database, client)
}

fn sleepers(client: &mut Client) -> i64 {
    number(
        client,
        "select count(*) from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Extension'
            and query like 'call pgq.wait_batch%'",
    )
}

/// How many of the open batches end at a tick that was laid by the transaction that opened them.
const OF_CONSUMERS: &str = "
    select count(*) from pgq.subscription s
      join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_next_tick
     where t.xmin = s.xmin";

/// One event reaches a consumer that sleeps, in a session prepared so; by whose tick?
fn is_laid_by_consumer(database: &Scratch, client: &mut Client, prepare: &str) -> bool {
    let mut consumer = database.connect();
    run(&mut consumer, prepare);
    let reader = thread::spawn(move || wait_batch(&mut consumer, "c", "1 hour"));
    assert!(wait_until(PATIENCE, || sleepers(client) == 1), "nobody waits");
    run(client, "select pgq.insert_event('q', 'type', 'data')");
    let batch = reader.join().unwrap().unwrap();
    let is_so = number(client, OF_CONSUMERS) == 1;
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    is_so
}

#[test]
fn a_consumer_lays_its_tick_unless_its_session_could_hold_others_up() {
    let (database, mut client) = waiting_room(&["c"]);
    assert!(is_laid_by_consumer(&database, &mut client, "select 1"));
    // As long as the worker's commit, not as this session's.
    assert!(is_laid_by_consumer(&database, &mut client, "set synchronous_commit = off"));
    for session in [
        "set client_min_messages = debug5",
        "set default_transaction_isolation = 'repeatable read'",
        "set default_transaction_isolation = serializable",
    ] {
        assert!(!is_laid_by_consumer(&database, &mut client, session), "{session}");
    }
    let ticks =
        "select demand_ticks from pgq.worker_status() where database_name = current_database()";
    assert!(number(&mut client, ticks) >= 5);
}

#[test]
fn outside_of_the_wait_no_tick_is_laid() {
    let (_database, mut client) = waiting_room(&["c"]);
    run(&mut client, "select pgq.insert_event('q', 'type', 'data')");
    let ticks = number(&mut client, "select count(*) from pgq.tick");
    run(&mut client, "begin");
    let verdict: String =
        client.query_one("select verdict from pgq._take_batch('q', 'c')", &[]).unwrap().get(0);
    assert_eq!(verdict, "worker");
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and objsubid = 3
                    and database = (select d.oid from pg_database d
                                     where d.datname = current_database())";
    assert_eq!(number(&mut client, locks), 0);
    run(&mut client, "commit");
    assert_eq!(number(&mut client, "select count(*) from pgq.tick"), ticks);
    // Nor by who only looks.
    assert_eq!(wait_batch(&mut client, "c", "0"), None);
    assert_eq!(consume(&mut client, "c", 1), ["data"]);
}

#[test]
fn a_tick_that_fails_is_no_error_of_who_waits() {
    let (database, mut client) = waiting_room(&["c"]);
    run(
        &mut client,
        "create function refuse() returns trigger language plpgsql as
             $$ begin raise exception 'no tick today'; end $$;
         create trigger refuse before insert on pgq.tick
             for each row execute function refuse()",
    );
    let mut consumer = database.connect();
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    assert!(wait_until(PATIENCE, || sleepers(&mut client) == 1));
    run(&mut client, "select pgq.insert_event('q', 'type', 'data')");
    let told = "select count(*) from pgq.queue_health() where code = 'tick_failed'";
    assert!(wait_until(PATIENCE, || number(&mut client, told) == 1), "the worker says nothing");
    run(&mut client, "drop trigger refuse on pgq.tick");
    assert_eq!(reader.join().unwrap(), ["data"]);
}

#[test]
fn who_holds_the_subscription_holds_up_no_tick() {
    let (database, mut client) = waiting_room(&["c", "d"]);
    let mut holder = database.connect();
    let mut consumer = database.connect();
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    assert!(wait_until(PATIENCE, || sleepers(&mut client) == 1));
    run(
        &mut holder,
        "begin; select from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer
                 where c.co_name = 'c' for update of s",
    );
    run(&mut client, "select pgq.insert_event('q', 'type', 'data')");
    assert_eq!(consume(&mut client, "d", 1), ["data"]);
    run(&mut holder, "commit");
    assert_eq!(reader.join().unwrap(), ["data"]);
}

/// Sessions that wait are ended at any time, also while they lay ticks: those who stay get all
/// events, each once and in order.
#[test]
fn whoever_is_ended_while_it_waits_takes_no_event_along() {
    const EVENTS: i64 = 600;
    let (database, mut client) = waiting_room(&["c", "d"]);
    let stop = Arc::new(AtomicBool::new(false));
    let victims: Vec<_> = (0..3)
        .map(|_| {
            let (mut victim, stop) = (database.connect(), Arc::clone(&stop));
            let name = database.name().to_owned();
            let cluster = database.cluster();
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    // It opens batches and finishes none, so that the next one gets them.
                    let waited = victim.batch_execute("call pgq.wait_batch('q', 'd', '1 s')");
                    if waited.is_err() && victim.is_closed() {
                        victim = cluster.connect(&name);
                    }
                    let _ = victim.batch_execute(
                        "select pgq.finish_batch(sub_batch) from pgq.subscription s
                           join pgq.consumer c on c.co_id = s.sub_consumer and c.co_name = 'd'
                          where sub_batch is not null",
                    );
                }
            })
        })
        .collect();
    let killer = {
        let (mut client, stop) = (database.connect(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut ended = 0;
            while !stop.load(Ordering::SeqCst) {
                ended += number(
                    &mut client,
                    "select count(case when random() < 0.5 then pg_cancel_backend(pid)
                                       else pg_terminate_backend(pid) end)
                       from pg_stat_activity
                      where datname = current_database() and random() < 0.3
                        and query like 'call pgq.wait_batch(''q'', ''d''%'",
                );
            }
            ended
        })
    };
    let reader = {
        let mut consumer = database.connect();
        let total = usize::try_from(EVENTS).unwrap();
        thread::spawn(move || consume(&mut consumer, "c", total))
    };
    for n in 0..EVENTS {
        client.execute("select pgq.insert_event('q', 'type', $1)", &[&n.to_string()]).unwrap();
    }
    let wanted: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    assert_eq!(reader.join().unwrap(), wanted);
    stop.store(true, Ordering::SeqCst);
    assert!(killer.join().unwrap() > 0, "nobody was ended");
    for victim in victims {
        victim.join().unwrap();
    }
}

#[test]
fn fifty_who_wait_get_each_event_once() {
    const EVENTS: usize = 20;
    let names: Vec<String> = (0..50).map(|n| format!("c{n}")).collect();
    let consumers: Vec<&str> = names.iter().map(String::as_str).collect();
    let (database, mut client) = waiting_room(&consumers);
    let readers: Vec<_> = names
        .iter()
        .map(|name| {
            let (mut consumer, name) = (database.connect(), name.clone());
            thread::spawn(move || consume(&mut consumer, &name, EVENTS))
        })
        .collect();
    assert!(wait_until(PATIENCE, || sleepers(&mut client) == 50));
    let wanted: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    for event in &wanted {
        client.execute("select pgq.insert_event('q', 'type', $1)", &[event]).unwrap();
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), wanted);
    }
}

/// What a consumer has heard of is there after a crash, however little its session's commits wait
/// for: the ticks that it laid itself, and so its batches.
#[test]
fn a_tick_that_a_consumer_laid_survives_a_crash() {
    let mut cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension pgq");
    worker_pid(&mut client);
    quiet_queue(&mut client, &["c"]);
    for round in 0..3 {
        let heard = Arc::new(AtomicUsize::new(0));
        let reader = {
            let (mut consumer, heard) = (cluster.connect("postgres"), Arc::clone(&heard));
            thread::spawn(move || hear_until_the_end(&mut consumer, &heard))
        };
        while heard.load(Ordering::SeqCst) < 20 + 7 * round {
            client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
        }
        cluster.stop(Stop::Kill);
        let heard = reader.join().unwrap();
        cluster.start();
        client = cluster.connect("postgres");
        for tick in &heard {
            let found = client.query("select from pgq.tick t where t::text = $1", &[tick]).unwrap();
            assert_eq!(found.len(), 1, "round {round}: tick {tick} is gone");
        }
        worker_pid(&mut client);
    }
}

/// The ticks at the ends of the batches that came before the server was gone.
fn hear_until_the_end(consumer: &mut Client, count: &AtomicUsize) -> Vec<String> {
    let mut heard = Vec::new();
    run(consumer, "set synchronous_commit = off");
    loop {
        let Ok(row) = consumer.query_one("call pgq.wait_batch('q', 'c', '1 hour')", &[]) else {
            return heard;
        };
        let Some(batch) = row.get::<_, Option<i64>>(0) else { return heard };
        let tick = "select t::text from pgq.subscription s
                      join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_next_tick
                     where s.sub_batch = $1";
        let Ok(row) = consumer.query_one(tick, &[&batch]) else { return heard };
        heard.push(row.get(0));
        count.store(heard.len(), Ordering::SeqCst);
        if consumer.execute("select pgq.finish_batch($1)", &[&batch]).is_err() {
            return heard;
        }
    }
}

/// `now()` of a procedure's transaction could be of when it fell asleep.
#[test]
fn a_tick_laid_in_a_procedure_is_no_older_than_its_event() {
    let (database, mut client) = waiting_room(&["c"]);
    let mut consumer = database.connect();
    let reader = thread::spawn(move || {
        run(
            &mut consumer,
            "do $$ declare batch int8; begin call pgq.wait_batch('q', 'c', '1 hour', batch); end $$",
        );
    });
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Extension'
                    and query like 'do %'";
    assert!(wait_until(PATIENCE, || number(&mut client, waits) == 1));
    run(&mut client, "select pgq.insert_event('q', 'type', 'data')");
    reader.join().unwrap();
    assert_eq!(number(&mut client, OF_CONSUMERS), 1);
    let late = "select count(*) from pgq.event_1 e, pgq.subscription s
                  join pgq.tick t on t.tick_queue = s.sub_queue and t.tick_id = s.sub_next_tick
                 where t.tick_time < e.ev_time";
    assert_eq!(number(&mut client, late), 0);
}

/// A session of a consumer that waits for the consumer's row is no one to wake.
#[test]
fn who_is_held_up_itself_is_not_woken_for_others() {
    let (database, mut client) = waiting_room(&["c", "d"]);
    run(&mut client, "select pgq.insert_event('q', 'type', 'first'); select pgq.ticker('q')");
    assert_eq!(consume(&mut client, "d", 1), ["first"]);
    let (mut holder, mut held, mut other) =
        (database.connect(), database.connect(), database.connect());
    run(
        &mut holder,
        "begin; select from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer
                 where c.co_name = 'c' for update of s",
    );
    let reader = thread::spawn(move || consume(&mut held, "c", 2));
    let waits = "select count(*) from pg_locks where not granted
                    and locktype in ('transactionid', 'tuple')";
    assert!(wait_until(PATIENCE, || number(&mut client, waits) == 1), "nobody is held up");
    let second = thread::spawn(move || wait_batch(&mut other, "d", "1 hour"));
    assert!(wait_until(PATIENCE, || sleepers(&mut client) == 1));
    run(&mut client, "select pgq.insert_event('q', 'type', 'second')");
    assert!(second.join().unwrap().is_some());
    assert_eq!(number(&mut client, OF_CONSUMERS), 1, "the worker had to lay it");
    run(&mut holder, "commit");
    assert_eq!(reader.join().unwrap(), ["first", "second"]);
}

/// They share a mark, which one of their consumers clears.
#[test]
fn queues_of_the_same_mark_do_not_hide_each_others_events() {
    let (database, mut client) = waiting_room(&["c"]);
    run(
        &mut client,
        "select setval(pg_get_serial_sequence('pgq.queue', 'queue_id'),
                       (select queue_id + 4095 from pgq.queue));
         select pgq.create_queue('twin');
         select pgq.set_queue_config('twin', 'ticker_max_lag', '1 hour');
         select pgq.set_queue_config('twin', 'ticker_max_count', '1000000');
         select pgq.set_queue_config('twin', 'ticker_idle_period', '1 hour');
         select pgq.register_consumer('twin', 'c')",
    );
    assert_eq!(
        number(&mut client, "select count(*) from pgq.queue where queue_id in (1, 4097)"),
        2
    );
    for _ in 0..5 {
        let readers: Vec<_> = ["q", "twin"]
            .map(|queue| {
                let mut consumer = database.connect();
                thread::spawn(move || {
                    let call = format!("call pgq.wait_batch('{queue}', 'c', '20 s')");
                    let batch: Option<i64> = consumer.query_one(&call, &[]).unwrap().get(0);
                    let batch = batch.unwrap_or_else(|| panic!("{queue}: no batch"));
                    consumer.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
                })
            })
            .into_iter()
            .collect();
        assert!(wait_until(PATIENCE, || sleepers(&mut client) == 2));
        run(
            &mut client,
            "begin; select pgq.insert_event('q', 'type', 'data');
             select pgq.insert_event('twin', 'type', 'data'); commit",
        );
        for reader in readers {
            reader.join().unwrap();
        }
    }
}

/// Its client could cancel the wait for a standby, and the tick would be seen before that has it.
#[test]
fn a_tick_that_a_standby_has_to_have_is_the_workers() {
    let cluster = preloaded().set("synchronous_standby_names", "nobody").start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "set synchronous_commit = local; create extension pgq");
    worker_pid(&mut client);
    quiet_queue(&mut client, &["c"]);
    let mut consumer = cluster.connect("postgres");
    run(&mut consumer, "set synchronous_commit = local; set statement_timeout = '20 s'");
    let reader = thread::spawn(move || wait_batch(&mut consumer, "c", "3 s"));
    assert!(wait_until(PATIENCE, || sleepers(&mut client) == 1));
    run(&mut client, "select pgq.insert_event('q', 'type', 'data')");
    // The worker's commit waits, and so does what it has laid.
    assert_eq!(reader.join().unwrap(), None);
}

/// Two queues whose ids are so far apart that one mark stands for both.
fn twin_queues() -> (Scratch, Client) {
    let (database, mut client) = waiting_room(&["c"]);
    run(
        &mut client,
        "select setval('pgq.queue_queue_id_seq', queue_id + 4095) from pgq.queue;
         select pgq.create_queue('r');
         select pgq.set_queue_config('r', 'ticker_max_lag', '1 hour');
         select pgq.set_queue_config('r', 'ticker_max_count', '1000000');
         select pgq.set_queue_config('r', 'ticker_idle_period', '1 hour');
         select pgq.register_consumer('r', 'c')",
    );
    let apart = "max(queue_id) - min(queue_id) from pgq.queue";
    assert_eq!(number(&mut client, &format!("select {apart}")), 4096);
    (database, client)
}

fn wait_for(database: &Scratch, queue: &'static str) -> thread::JoinHandle<bool> {
    let mut consumer = database.connect();
    thread::spawn(move || {
        let call = format!("call pgq.wait_batch('{queue}', 'c', '20 s')");
        consumer.query_one(&call, &[]).unwrap().get::<_, Option<i64>>(0).is_some()
    })
}

#[test]
fn a_mark_that_was_taken_for_another_queue_hides_no_event_from_who_comes_later() {
    for (first, second) in [("q", "r"), ("r", "q")] {
        let (database, mut client) = twin_queues();
        let reader = wait_for(&database, first);
        assert!(wait_until(PATIENCE, || sleepers(&mut client) == 1));
        for queue in [second, first] {
            client.execute("select pgq.insert_event($1, 'type', 'data')", &[&queue]).unwrap();
        }
        assert!(reader.join().unwrap(), "{first}");
        assert!(wait_for(&database, second).join().unwrap(), "{second} after {first}");
    }
}
