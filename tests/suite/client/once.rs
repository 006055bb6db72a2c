//! `--once`: everything that was committed before the command started comes, and who waits in vain
//! is told why.

use std::io::Read;
use std::process::{Output, Stdio};

use pgq_client::{Consumer, Outcome};
use pgq_tests::{PATIENCE, Scratch, Tree, scratch_database_with_worker, wait_until};

use crate::client::commands::json;
use crate::client::services::{Site, run_once, signal};
use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, run, stderr, succeed, target, value,
};

fn consume(scratch: &Scratch) -> Output {
    run(scratch, &["consume", "q", "c", "--once"])
}

#[test]
fn once_sees_what_was_sent_a_moment_before() {
    let scratch = scratch_database_with_worker();
    succeed(&scratch, &["queue", "create", "q"]);
    succeed(&scratch, &["consumer", "add", "q", "c"]);
    for n in 0..5 {
        succeed(&scratch, &["send", "q", &n.to_string()]);
        let output = consume(&scratch);
        let events = json(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(events.len(), 1, "round {n}: {}", stderr(&output));
        assert_eq!(events[0]["ev_data"], n.to_string());
        assert_eq!(stderr(&output), "pgq: 1 event in 1 batch\n");
    }
    let output = consume(&scratch);
    assert_eq!((output.stdout.len(), &*stderr(&output)), (0, "pgq: 0 events in 0 batches\n"));
    assert_eq!(stderr(&run(&scratch, &["consume", "q", "c", "--once", "-q"])), "");
}

#[test]
fn once_sees_a_transaction_that_is_older_than_the_newest_tick() {
    let scratch = scratch_database_with_worker();
    let (mut late, mut other) = (scratch.connect(), scratch.connect());
    succeed(&scratch, &["queue", "create", "q"]);
    succeed(&scratch, &["consumer", "add", "q", "c"]);
    late.batch_execute("begin; select pgq.insert_event('q', 't', 'late')").unwrap();
    value(&mut other, "select pgq.insert_event('q', 't', 'early')");
    assert_eq!(json(&String::from_utf8_lossy(&consume(&scratch).stdout)).len(), 1);
    // The newest tick knows the sequence's value, but not this event.
    late.batch_execute("commit").unwrap();
    let output = consume(&scratch);
    let events = json(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(events.len(), 1, "{}", stderr(&output));
    assert_eq!(events[0]["ev_data"], "late");
}

#[test]
fn transfers_and_services_see_what_was_sent_a_moment_before() {
    let scratch = scratch_database_with_worker();
    let (there, mut far) = target("select pgq.create_queue('q')");
    let to = dsn(&there);
    succeed(&scratch, &["queue", "create", "q"]);
    for verb in ["move", "split"] {
        succeed(&scratch, &["consumer", "add", "q", verb]);
        succeed(&scratch, &["send", "q", "x", "--extra1", "q"]);
        let said = succeed(&scratch, &[verb, "q", verb, "--once", "--to", &to]);
        assert_eq!(said, "1 event in 1 batch\n", "{verb}");
    }
    assert_eq!(value(&mut far, "select count(*) from pgq.event_template"), "2");

    let mut site = Site::on(scratch_database_with_worker());
    succeed(&site.source, &["send", "q", "y"]);
    run_once(&site.ini_once("queue_mover3", "dst_queue_name = copy"));
    assert_eq!(value(&mut site.far, "select count(*) from pgq.event_template"), "1");
}

#[test]
fn once_ends_though_there_is_always_another_batch() {
    for tree in [Tree::Ours, Tree::Peer] {
        let scratch = database_on(tree);
        let mut client = scratch.connect();
        create_queue(&mut client, "q", "c");
        insert_and_tick(&mut client, "q", 0, 1);
        let mut consumer =
            Consumer::builder("q", "c").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
        let stop = consumer.stop_handle();
        let mut handled = 0;
        consumer
            .run(|_, _| {
                handled += 1;
                insert_and_tick(&mut client, "q", handled, handled + 1);
                if handled == 20 {
                    stop.after_batch();
                }
                Ok(Outcome::Done)
            })
            .unwrap();
        // What came before the beginning, and with it at most one tick's worth more.
        assert!((1..=2).contains(&handled), "{handled}");
    }
}

#[test]
fn once_says_why_events_do_not_come() {
    for tree in [Tree::Ours, Tree::Peer] {
        let scratch = database_on(tree);
        let mut client = scratch.connect();
        create_queue(&mut client, "q", "c");
        insert_and_tick(&mut client, "q", 0, 3);
        value(&mut client, "select pgq.insert_event('q', 't', 'untold')");
        // What has a tick comes; then nobody makes another.
        let output = consume(&scratch);
        assert_eq!(json(&String::from_utf8_lossy(&output.stdout)).len(), 3);
        assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
        let words = stderr(&output);
        assert!(words.contains("queue \"q\" wait for a tick that does not come: "), "{words}");
        assert!(words.contains("worker"), "{words}");

        succeed(&scratch, &["queue", "pause", "q"]);
        let output = consume(&scratch);
        assert_eq!(output.status.code(), Some(6));
        assert!(stderr(&output).contains("the queue is paused"), "{}", stderr(&output));

        // A paused queue that has nothing to give is no failure, but a reason to say something.
        succeed(&scratch, &["queue", "resume", "q"]);
        value(&mut client, "select pgq.ticker('q')");
        assert!(consume(&scratch).status.success());
        succeed(&scratch, &["queue", "pause", "q"]);
        let output = consume(&scratch);
        assert!(output.status.success());
        assert!(stderr(&output).contains("warning: queue \"q\" is paused"), "{}", stderr(&output));
    }
}

#[test]
fn a_reader_without_rights_on_event_tables_gets_everything_too() {
    let scratch = scratch_database_with_worker();
    let mut client = scratch.connect();
    client
        .batch_execute(
            "do $$ begin create role pgq_once login in role pgq_reader;
             exception when duplicate_object then null; end $$",
        )
        .unwrap();
    succeed(&scratch, &["queue", "create", "q"]);
    succeed(&scratch, &["consumer", "add", "q", "c"]);
    succeed(&scratch, &["send", "q", "x"]);
    let reader = scratch.cluster().conninfo_as(scratch.name(), "pgq_once");
    let output = pgq(&["consume", "q", "c", "--once", "--dsn", &reader]).output().unwrap();
    assert_eq!(json(&String::from_utf8_lossy(&output.stdout)).len(), 1, "{}", stderr(&output));
}

#[test]
fn who_waits_in_vain_is_told_why_once() {
    let scratch = scratch_database_with_worker();
    let mut client = scratch.connect();
    succeed(&scratch, &["queue", "create", "q"]);
    succeed(&scratch, &["consumer", "add", "q", "c"]);
    succeed(&scratch, &["queue", "pause", "q"]);
    let mut consumer = pgq(&["consume", "q", "c", "--wait", "0.5"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Several waits, each of which has the server say it.
    let mut waits = std::collections::BTreeSet::new();
    let began = "select query_start from pg_stat_activity where query ~ 'call pgq.wait_batch' and pid <> pg_backend_pid()
                    and datname = current_database()";
    assert!(wait_until(PATIENCE, || {
        waits.insert(value(&mut client, began));
        waits.len() > 4
    }));
    signal(&consumer, "INT");
    let mut words = String::new();
    consumer.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert!(consumer.wait().unwrap().success());
    assert_eq!(words.matches("queue \"q\" is paused").count(), 1, "{words}");
    assert!(words.contains("hint: Call pgq.resume_queue()"), "{words}");
}
