//! `pgq_ext`: what each call answers, and exactly-once across two databases under kills.

use std::thread;

use pgq_tests::{Random, Scratch, Tree, scratch_database, scratch_database_on};
use postgres::Client;

use pgq_tests::query::{outcome, patient, row, rows, run};

/// A database without pgq: a target needs only `pgq_ext`.
fn target() -> Scratch {
    let database = scratch_database_on(Tree::Ours);
    run(&mut database.connect(), "create extension pgq_ext");
    database
}

#[test]
fn batches_are_done_once() {
    let database = target();
    let mut client = database.connect();
    for (call, answer) in [
        ("is_batch_done('c', 1)", "f"),
        ("set_batch_done('c', 1)", "t"),
        ("set_batch_done('c', 1)", "f"),
        ("is_batch_done('c', 1)", "t"),
        ("is_batch_done('c', '', 1)", "t"),
        ("is_batch_done('c', 'part', 1)", "f"),
        ("set_batch_done('c', 'part', 1)", "t"),
        ("set_batch_done('c', 2)", "t"),
        // Only the last one is remembered, of each part.
        ("is_batch_done('c', 1)", "f"),
        ("is_batch_done('c', 'part', 1)", "t"),
        // No id of a batch: nothing to remember.
        ("set_batch_done('c', 0)", "t"),
        ("is_batch_done('c', 0)", "f"),
        ("is_batch_done('c', 2)", "t"),
        ("is_batch_done(null, 2)", "f"),
        ("is_batch_done('c', null)", "f"),
        ("set_batch_done('c', null)", "ERROR 22004: batch id must not be null"),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq_ext.{call}")), answer, "{call}");
    }
    assert!(
        outcome(&mut client, "select pgq_ext.set_batch_done(null, 1)").starts_with("ERROR 23502")
    );
}

#[test]
fn events_are_done_once_and_forgotten_with_their_batch() {
    let database = target();
    let mut client = database.connect();
    for (call, answer) in [
        ("is_event_done('c', 1, 101)", "f"),
        ("set_event_done('c', 1, 101)", "t"),
        ("set_event_done('c', 1, 101)", "f"),
        ("set_event_done('c', 1, 102)", "t"),
        ("is_event_done('c', '', 1, 102)", "t"),
        ("is_event_done('c', 'part', 1, 102)", "f"),
        ("set_event_done('c', 'part', 1, 102)", "t"),
        ("set_event_done('c', 2, 103)", "t"),
        ("is_event_done('c', 1, 101)", "f"),
        ("is_event_done('c', 'part', 1, 102)", "t"),
        ("is_event_done('c', 2, null)", "f"),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq_ext.{call}")), answer, "{call}");
    }
    assert_eq!(
        rows(&mut client, "select * from pgq_ext.completed_event order by 2"),
        ["c||2|103", "c|part|1|102"]
    );
    assert!(
        outcome(&mut client, "select pgq_ext.set_event_done('c', 2, null)")
            .starts_with("ERROR 23502")
    );
}

#[test]
fn ticks_are_kept_until_set_to_null() {
    let database = target();
    let mut client = database.connect();
    for (call, answer) in [
        ("get_last_tick('c')", "∅"),
        ("set_last_tick('c', 1)", "1"),
        ("get_last_tick('c')", "1"),
        ("set_last_tick('c', 'part', 7)", "1"),
        ("set_last_tick('c', 2)", "1"),
        ("get_last_tick('c', '')", "2"),
        ("set_last_tick('c', null)", "1"),
        ("set_last_tick('c', null)", "1"),
        ("get_last_tick('c')", "∅"),
        ("get_last_tick('c', 'part')", "7"),
        ("get_last_tick(null)", "∅"),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq_ext.{call}")), answer, "{call}");
    }
    assert!(
        outcome(&mut client, "select pgq_ext.set_last_tick(null, 1)").starts_with("ERROR 23502")
    );
}

#[test]
fn two_sessions_that_apply_the_same_thing_meet() {
    let database = target();
    for call in ["set_batch_done('c', 5)", "set_event_done('c', 5, 1)"] {
        // A new consumer, then one that is known.
        for round in 0..2 {
            let mut first = database.connect();
            run(&mut first, "begin");
            assert_eq!(
                row(&mut first, &format!("select pgq_ext.{call}")),
                "t",
                "{call}, round {round}"
            );
            let answer = thread::scope(|scope| {
                let second = scope.spawn(|| {
                    let mut client = patient(database.connect());
                    row(&mut client, &format!("select pgq_ext.{call}"))
                });
                let mut watch = database.connect();
                let waits = "select count(*) from pg_stat_activity
                              where datname = current_database() and wait_event_type = 'Lock'";
                assert!(pgq_tests::wait_until(pgq_tests::PATIENCE, || {
                    row(&mut watch, waits) == "1"
                }));
                run(&mut first, "commit");
                second.join().unwrap()
            });
            assert_eq!(answer, "f", "{call}, round {round}");
            run(
                &mut first,
                "select pgq_ext.set_batch_done('c', 4), pgq_ext.set_event_done('c', 4, 1)",
            );
        }
    }
}

/// Where the consumer is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    AfterNextBatch,
    AfterQuestion,
    BeforeSetDone,
    BeforeTargetCommit,
    AfterTargetCommit,
    BeforeSourceCommit,
    Never,
}

/// One round of a consumer that reads in one database and writes in another. A kill is both
/// connections breaking where they are. False when there is no batch.
fn consume(source: &Scratch, target: &Scratch, kill: Kill) -> bool {
    let (mut from, mut to) = (source.connect(), target.connect());
    let batch = row(&mut from, "select pgq.next_batch('q', 'c')");
    if batch == "∅" {
        return false;
    }
    if kill == Kill::AfterNextBatch {
        return true;
    }
    let mut effects = to.transaction().unwrap();
    let id: i64 = batch.parse().unwrap();
    let done: bool =
        effects.query_one("select pgq_ext.is_batch_done('c', $1)", &[&id]).unwrap().get(0);
    if kill == Kill::AfterQuestion {
        return true;
    }
    if !done {
        for event in from.query("select ev_id from pgq.get_batch_events($1)", &[&id]).unwrap() {
            effects.execute("insert into applied values ($1)", &[&event.get::<_, i64>(0)]).unwrap();
        }
        if kill == Kill::BeforeSetDone {
            return true;
        }
        let set: bool =
            effects.query_one("select pgq_ext.set_batch_done('c', $1)", &[&id]).unwrap().get(0);
        assert!(set, "nobody else applies batches of this consumer");
    }
    if kill == Kill::BeforeTargetCommit {
        return true;
    }
    effects.commit().unwrap();
    if kill == Kill::AfterTargetCommit {
        return true;
    }
    let mut finish = from.transaction().unwrap();
    finish.execute("select pgq.finish_batch($1)", &[&id]).unwrap();
    if kill == Kill::BeforeSourceCommit {
        return true;
    }
    finish.commit().unwrap();
    true
}

#[test]
fn effects_in_another_database_happen_exactly_once_wherever_the_consumer_dies() {
    const KILLS: [Kill; 6] = [
        Kill::AfterNextBatch,
        Kill::AfterQuestion,
        Kill::BeforeSetDone,
        Kill::BeforeTargetCommit,
        Kill::AfterTargetCommit,
        Kill::BeforeSourceCommit,
    ];
    let (source, target) = (scratch_database(), target());
    let (mut from, mut to) = (source.connect(), target.connect());
    run(&mut to, "create table applied (event bigint)");
    run(&mut from, "select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')");
    run(
        &mut from,
        "update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    let produce = |from: &mut Client| {
        run(from, "select pgq.insert_event('q', 'test', n::text) from generate_series(1, 5) n");
        run(from, "select pgq.ticker('q')");
    };

    // Each place alone, then any mixture.
    for kill in KILLS {
        produce(&mut from);
        assert!(consume(&source, &target, kill), "{kill:?}");
        while consume(&source, &target, Kill::Never) {}
    }
    let mut random = Random::for_test("effects_in_another_database");
    for _ in 0..20 {
        produce(&mut from);
    }
    for _ in 0..40 {
        let kill = KILLS[usize::try_from(random.below(6)).unwrap()];
        consume(&source, &target, if random.one_in(3) { Kill::Never } else { kill });
    }
    while consume(&source, &target, Kill::Never) {}
    assert_eq!(row(&mut to, "select count(*), count(distinct event) from applied"), "130|130");
    let wanted = rows(&mut from, "select ev_id from pgq.event_template order by 1");
    assert_eq!(rows(&mut to, "select event from applied order by 1"), wanted);
}
