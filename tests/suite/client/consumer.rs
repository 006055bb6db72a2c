//! The library's consumer, on both servers: nothing lost, nothing twice, whatever the handler and
//! the server do.

use std::collections::BTreeMap;
use std::time::Duration;

use pgq_client::postgres::types::Type;
use pgq_client::{
    Backoff, Consumer, CoopConsumer, Error, Event, HandlerError, OnFailure, Outcome, Stop, Work,
};
use pgq_tests::{PATIENCE, Scratch, Tree, wait_until};
use postgres::Client;

use pgq_tests::programs::{
    connector, create_queue, database_on, dsn, insert_and_tick, tick, value,
};

/// A handler that writes the event's payload into table `seen`.
fn note(work: &mut Work<'_, '_>, event: &Event) -> Result<(), HandlerError> {
    work.transaction()?
        .execute_typed("insert into seen values ($1::int)", &[(&event.data, Type::TEXT)])?;
    Ok(())
}

/// A queue `q` with consumer `c`, table `seen`, and a connection.
fn prepare(tree: Tree) -> (Scratch, Client) {
    let scratch = database_on(tree);
    let mut client = connector(&scratch).connect().unwrap();
    create_queue(&mut client, "q", "c");
    client.batch_execute("create table seen (n int)").unwrap();
    (scratch, client)
}

/// How often each number was seen.
fn seen(client: &mut Client) -> String {
    value(client, "select count(*) || ' of ' || count(distinct n) from seen")
}

fn once(retry: OnFailure) -> pgq_client::ConsumerBuilder {
    Consumer::builder("q", "c").stop_when_empty(true).on_failure(retry)
}

fn retry_now(max_attempts: Option<u32>) -> OnFailure {
    OnFailure::Retry { backoff: Backoff::constant(Duration::ZERO), max_attempts }
}

/// Bring due retries back and tick.
fn redeliver(client: &mut Client) {
    while value(client, "select pgq.maint_retry_events()") != "0" {}
    tick(client, "q");
}

fn poison_event_ends_in_the_dead_letter_queue(tree: Tree) {
    let (scratch, mut client) = prepare(tree);
    insert_and_tick(&mut client, "q", 0, 10);
    let mut deliveries = BTreeMap::<i32, u32>::new();
    for _ in 0..4 {
        let mut consumer =
            once(retry_now(Some(3))).dead_letter_queue("q.dead").connect(&dsn(&scratch)).unwrap();
        consumer
            .run(|work, event| {
                note(work, event)?;
                let n: i32 = event.payload()?;
                *deliveries.entry(n).or_default() += 1;
                match n {
                    3 => work.transaction()?.batch_execute("select 1/0")?,
                    5 => panic!("five is right out"),
                    7 if event.attempt() < 2 => return Err("seven comes later".into()),
                    _ => {}
                }
                Ok(())
            })
            .unwrap();
        redeliver(&mut client);
    }
    assert_eq!(deliveries.get(&3), Some(&3));
    assert_eq!(deliveries.get(&5), Some(&3));
    assert_eq!(deliveries.get(&7), Some(&2));
    assert_eq!(deliveries.get(&1), Some(&1));
    assert_eq!(seen(&mut client), "8 of 8", "what failed left nothing behind");
    let dead = value(
        &mut client,
        "select string_agg(concat_ws(' ', ev_data, ev_extra1::json->>'queue', \
         ev_extra1::json->>'consumer',
                                     ev_extra1::json->>'attempts', ev_extra1::json->>'error'), \
                                     E'\n' order by ev_data)
           from pgq.event_template where ev_extra1 is not null",
    );
    let lines: Vec<_> = dead.lines().collect();
    assert_eq!(lines.len(), 2, "{dead}");
    assert!(lines[0].starts_with("3 q c 3 ") && lines[0].contains("22012"), "{dead}");
    assert_eq!(lines[1], "5 q c 3 handler panicked: five is right out");
}

#[test]
fn poison_event_ends_in_the_dead_letter_queue_on_ours() {
    poison_event_ends_in_the_dead_letter_queue(Tree::Ours);
}

#[test]
fn poison_event_ends_in_the_dead_letter_queue_on_upstream() {
    poison_event_ends_in_the_dead_letter_queue(Tree::Peer);
}

#[test]
fn handler_may_ask_for_retry_or_give_up() {
    let (scratch, mut client) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 3);
    let mut consumer =
        once(OnFailure::default()).dead_letter_queue("q.dead").connect(&dsn(&scratch)).unwrap();
    let stats = consumer
        .run(|_, event| {
            Ok(match event.payload::<i32>()? {
                0 => Outcome::Retry(Duration::from_secs(3600)),
                1 => Outcome::Dead("not wanted".to_owned()),
                _ => Outcome::Done,
            })
        })
        .unwrap();
    assert_eq!((stats.events, stats.retried, stats.dead), (3, 1, 1));
    let due = value(
        &mut client,
        "select ev_data || ' ' || (ev_retry_after > now() + interval '3000 s') from pgq.retry_queue",
    );
    assert_eq!(due, "0 true");
}

#[test]
fn attempts_without_a_dead_letter_queue_are_refused() {
    let (scratch, _client) = prepare(Tree::Ours);
    let error = once(retry_now(Some(3))).connect(&dsn(&scratch)).err().unwrap();
    assert!(matches!(error, Error::Config(_)), "{error}");
}

#[test]
fn repeat_batch_keeps_order_and_loses_nothing() {
    let (scratch, mut client) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 20);
    let mut failures = 0;
    let mut consumer = once(OnFailure::RepeatBatch).connect(&dsn(&scratch)).unwrap();
    let stats = consumer
        .run(|work, event| {
            note(work, event)?;
            if event.payload::<i32>()? == 13 && failures < 2 {
                failures += 1;
                return Err("not yet".into());
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(stats.events, 20);
    assert_eq!(
        value(&mut client, "select string_agg(n::text, ',' order by ctid) from seen"),
        (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
}

#[test]
fn large_batch_comes_in_pages() {
    let (scratch, mut client) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 25_000);
    let mut consumer = once(OnFailure::default()).page_rows(999).connect(&dsn(&scratch)).unwrap();
    let mut pages = Vec::new();
    let mut next = 0;
    let stats = consumer
        .run_batches(|batch| {
            while let Some(page) = batch.next_page()? {
                pages.push(page.len());
                for event in page {
                    assert_eq!(event.payload::<u32>()?, next);
                    next += 1;
                }
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(stats.events, 25_000);
    assert!(pages.iter().all(|rows| *rows <= 999), "{pages:?}");
    assert_eq!(pages.iter().sum::<usize>(), 25_000);
}

#[test]
fn filter_runs_in_the_server() {
    let (scratch, mut client) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 100);
    let mut consumer =
        once(OnFailure::default()).filter("ev_data like '%7'").connect(&dsn(&scratch)).unwrap();
    assert_eq!(consumer.run(note).unwrap().events, 10);
    assert_eq!(seen(&mut client), "10 of 10");
}

#[test]
fn stop_between_events_gives_the_batch_back_whole() {
    let (scratch, mut client) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 100);
    let stop = Stop::new();
    let mut consumer =
        once(OnFailure::default()).stop(stop.clone()).connect(&dsn(&scratch)).unwrap();
    let mut handled = 0;
    let stats = consumer
        .run(|work, event| {
            handled += 1;
            if handled == 50 {
                stop.now();
            }
            note(work, event)
        })
        .unwrap();
    assert_eq!((handled, stats.batches), (50, 0));
    assert_eq!(seen(&mut client), "0 of 0");
    let mut consumer = once(OnFailure::default()).connect(&dsn(&scratch)).unwrap();
    assert_eq!(consumer.run(note).unwrap().events, 100);
    assert_eq!(seen(&mut client), "100 of 100");
}

#[test]
fn stop_wakes_a_consumer_that_waits() {
    let (scratch, _client) = prepare(Tree::Ours);
    let mut consumer = Consumer::builder("q", "c")
        .poll_interval(Duration::from_secs(3600))
        .wait_timeout(Duration::from_secs(3600))
        .connect(&dsn(&scratch))
        .unwrap();
    let stop = consumer.stop_handle();
    let thread = std::thread::spawn(move || consumer.run(note));
    let mut client = scratch.connect();
    let waits = || {
        let sql = "select count(*) from pg_stat_activity
                    where application_name = 'c' and datname = current_database()";
        value(&mut client, sql) == "1"
    };
    assert!(wait_until(PATIENCE, waits));
    stop.after_batch();
    assert!(wait_until(PATIENCE, || thread.is_finished()));
    thread.join().unwrap().unwrap();
}

#[test]
fn killed_sessions_do_not_stop_or_repeat_anything() {
    let (scratch, mut client) = prepare(Tree::Ours);
    let mut consumer = Consumer::builder("q", "c")
        .poll_interval(Duration::from_millis(20))
        .connect(&dsn(&scratch))
        .unwrap();
    let stop = consumer.stop_handle();
    let thread = std::thread::spawn(move || consumer.run(note));
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                 where application_name = 'c' and datname = current_database()";
    let mut killed = 0;
    for round in 0..20 {
        let caught_up = format!("{0} of {0}", round * 500);
        assert!(wait_until(PATIENCE, || seen(&mut client) == caught_up));
        insert_and_tick(&mut client, "q", round * 500, (round + 1) * 500);
        if round % 2 == 0 {
            let done = wait_until(PATIENCE, || value(&mut client, kill) != "0");
            killed += u64::from(done);
        }
    }
    let all = wait_until(PATIENCE, || seen(&mut client) == "10000 of 10000");
    assert!(all, "{}", seen(&mut client));
    stop.after_batch();
    let stats = thread.join().unwrap().unwrap();
    assert_eq!(seen(&mut client), "10000 of 10000");
    // A commit whose answer was lost with the session is in the table, but not in the count.
    assert!(stats.events <= 10_000);
    assert_eq!(killed, 10);
    assert!(stats.reconnects > 0);
}

#[test]
fn consumer_unregistered_under_it_says_so() {
    let (scratch, mut client) = prepare(Tree::Ours);
    let mut consumer = Consumer::builder("q", "c")
        .poll_interval(Duration::from_millis(20))
        .wait_timeout(Duration::from_millis(200))
        .connect(&dsn(&scratch))
        .unwrap();
    let thread = std::thread::spawn(move || consumer.run(note));
    client.query_one("select pgq.unregister_consumer('q', 'c')", &[]).unwrap();
    assert!(wait_until(PATIENCE, || thread.is_finished()));
    let error = thread.join().unwrap().unwrap_err();
    assert_eq!(error.sqlstate(), Some("42704"), "{error}");
    assert!(error.to_string().contains("q/c"), "{error}");
}

#[test]
fn two_processes_of_one_consumer_do_not_do_the_work_twice() {
    let (scratch, mut client) = prepare(Tree::Ours);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let mut consumer = Consumer::builder("q", "c")
                .poll_interval(Duration::from_millis(5))
                .connect(&dsn(&scratch))
                .unwrap();
            let stop = consumer.stop_handle();
            (stop, std::thread::spawn(move || consumer.run(note)))
        })
        .collect();
    for round in 0..30 {
        insert_and_tick(&mut client, "q", round * 50, (round + 1) * 50);
    }
    let all =
        wait_until(PATIENCE, || value(&mut client, "select count(distinct n) from seen") == "1500");
    assert!(all, "{}", seen(&mut client));
    for (stop, thread) in threads {
        stop.after_batch();
        thread.join().unwrap().unwrap();
    }
    assert_eq!(seen(&mut client), "1500 of 1500");
}

#[test]
fn database_without_pgq_is_named() {
    let scratch = pgq_tests::scratch_database_on(Tree::Ours);
    let error = once(OnFailure::default()).connect(&dsn(&scratch)).err().unwrap();
    assert!(matches!(error, Error::Missing(_)), "{error}");
    assert!(error.to_string().contains(scratch.name()), "{error}");
}

#[test]
fn a_limit_of_batches_is_each_runs_own() {
    let (scratch, mut client) = prepare(Tree::Ours);
    for from in [0, 10, 20, 30, 40] {
        insert_and_tick(&mut client, "q", from, from + 10);
    }
    let builder = once(OnFailure::default()).max_batches(2);
    let mut consumer = builder.connect(&dsn(&scratch)).unwrap();
    for of_all_runs in [2, 4] {
        assert_eq!(consumer.run(note).unwrap().batches, of_all_runs);
    }
}

#[test]
fn members_of_a_group_share_the_batches_and_take_over() {
    let (scratch, mut client) = prepare(Tree::Ours);
    let member = |name: &str, takeover| {
        let builder = CoopConsumer::builder("q", "group", name)
            .settings(|consumer| consumer.stop_when_empty(true).max_batches(1));
        match takeover {
            Some(silence) => builder.takeover(silence),
            None => builder,
        }
    };
    let error = member("one", None).connect(&dsn(&scratch)).err().unwrap();
    assert!(error.to_string().contains("pgq_coop"), "{error}");
    client.batch_execute("create extension pgq_coop").unwrap();
    member("one", None).connect(&dsn(&scratch)).unwrap().register().unwrap();

    // A member that dies with a batch in its hands.
    insert_and_tick(&mut client, "q", 0, 10);
    let dead = value(&mut client, "select pgq_coop.next_batch('q', 'group', 'dead')");
    insert_and_tick(&mut client, "q", 10, 30);
    let mut one = member("one", None).connect(&dsn(&scratch)).unwrap();
    assert_eq!(one.run(note).unwrap().events, 20);
    insert_and_tick(&mut client, "q", 30, 35);
    let mut two = member("two", None).connect(&dsn(&scratch)).unwrap();
    assert_eq!(two.run(note).unwrap().events, 5);
    assert_eq!(seen(&mut client), "25 of 25");

    client
        .batch_execute(
            "update pgq.subscription set sub_active = now() - interval '1 hour' where \
            sub_batch is not null",
        )
        .unwrap();
    let mut heir = member("two", Some(Duration::from_secs(60))).connect(&dsn(&scratch)).unwrap();
    assert_eq!(heir.run(note).unwrap().events, 10, "batch {dead} of the dead member");
    assert_eq!(seen(&mut client), "35 of 35");
}
