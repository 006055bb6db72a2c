//! Demotion and promotion against writers, workers and second thoughts.

use pgq_tests::{PATIENCE, Scratch, wait_until};

use crate::companions::node::{branch, problems, root};
use pgq_tests::query::{outcome, patient, row, rows, run};

#[test]
fn demotion_can_be_cancelled() {
    let (_database, mut client) = root();
    assert_eq!(
        row(&mut client, "select * from pgq_node.cancel_demote('none')"),
        "404|Node not initialized for queue: none"
    );
    assert_eq!(
        row(&mut client, "select * from pgq_node.cancel_demote('q')"),
        "201|Node is not being demoted: q"
    );
    run(&mut client, "select pgq_node.demote_root('q', 1, null)");
    run(&mut client, "select pgq_node.demote_root('q', 2, null)");
    assert_eq!(
        outcome(&mut client, "select pgq.insert_event('q', 'a', 'b')"),
        "ERROR 55000: Insert into queue disallowed"
    );
    assert_eq!(
        row(&mut client, "select * from pgq_node.cancel_demote('q')"),
        "200|Demotion cancelled: q"
    );
    run(&mut client, "select pgq.insert_event('q', 'a', 'b')");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "3");
    let (_database, mut client) = branch();
    assert_eq!(row(&mut client, "select * from pgq_node.cancel_demote('q')"), "301|Node not root");
}

#[test]
fn last_tick_of_a_root_waits_for_writers_and_ends_with_their_events() {
    let (database, mut client) = root();
    let mut writer = database.connect();
    run(&mut client, "select pgq.register_consumer('q', 'reader')");
    run(&mut writer, "begin; select pgq.insert_event('q', 'a', 'in time')");
    run(&mut client, "select pgq_node.demote_root('q', 1, null)");
    std::thread::scope(|scope| {
        let demoted = scope.spawn(|| {
            let mut client = patient(database.connect());
            assert!(
                outcome(
                    &mut client,
                    "begin isolation level repeatable read; select \
                    pgq_node.demote_root('q', 2, null)"
                )
                .starts_with("ERROR 25001")
            );
            run(&mut client, "rollback");
            row(&mut client, "select last_tick from pgq_node.demote_root('q', 2, null)")
        });
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
            wait_event_type = 'Lock'";
        assert!(wait_until(PATIENCE, || row(&mut client, waits) == "1"));
        run(&mut writer, "commit");
        assert_eq!(demoted.join().unwrap(), "2");
    });
    let batch = row(&mut client, "select pgq.next_batch('q', 'reader')");
    assert_eq!(
        rows(&mut client, &format!("select ev_data from pgq.get_batch_events({batch})")),
        ["in time"]
    );
    assert!(
        outcome(&mut writer, "select pgq.insert_event('q', 'a', 'late')")
            .starts_with("ERROR 55000")
    );
}

#[test]
fn promotion_lays_the_tick_that_a_dead_worker_has_not() {
    let (_database, mut client) = branch();
    // The worker applied tick 7 with an event and died before it told the queue.
    run(
        &mut client,
        "begin;
         set local session_replication_role = replica;
         insert into pgq.event_1_0 (ev_id, ev_time, ev_type, ev_data) values (55, now(), 'a', \
         'copied');
         select pgq_node.set_consumer_completed('q', 'node2_worker', 7);
         commit",
    );
    assert!(
        problems(&mut client).contains(&"q: tick missing".to_owned()),
        "{:?}",
        problems(&mut client)
    );
    run(&mut client, "select pgq.register_consumer('q', 'reader')");
    assert_eq!(
        row(&mut client, "select * from pgq_node.promote_branch('q')"),
        "200|Branch node promoted to root"
    );
    assert_eq!(row(&mut client, "select worker_last_tick from pgq_node.get_node_info('q')"), "7");
    let batch = row(&mut client, "select pgq.next_batch('q', 'reader')");
    assert_eq!(
        rows(&mut client, &format!("select ev_id, ev_data from pgq.get_batch_events({batch})")),
        ["55|copied"]
    );
    assert_eq!(row(&mut client, "select pgq.insert_event('q', 'a', 'own')"), "56");
    run(&mut client, "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_max_count = 1");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "8");
}

#[test]
fn promotion_waits_for_the_worker_and_refuses_it_afterwards() {
    let (database, mut client) = branch();
    let mut worker = database.connect();
    run(
        &mut worker,
        "set session_replication_role = replica; begin;
         insert into pgq.event_1_0 (ev_id, ev_time, ev_type, ev_data) values (1, now(), 'a', \
         'copied')",
    );
    std::thread::scope(|scope| {
        let promoted = scope.spawn(|| {
            row(&mut patient(database.connect()), "select * from pgq_node.promote_branch('q')")
        });
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
            wait_event_type = 'Lock'";
        assert!(wait_until(PATIENCE, || row(&mut client, waits) == "1"));
        run(
            &mut worker,
            "select pgq_node.set_global_watermark('q', 1);
             select pgq_node.set_consumer_completed('q', 'node2_worker', 2);
             commit",
        );
        assert_eq!(promoted.join().unwrap(), "200|Branch node promoted to root");
    });
    assert_eq!(row(&mut client, "select worker_last_tick from pgq_node.get_node_info('q')"), "2");
    assert_eq!(
        outcome(&mut worker, "select pgq_node.set_consumer_completed('q', 'node2_worker', 3)"),
        "ERROR 55000: worker \"node2_worker\" of queue \"q\" cannot apply a batch: its node is \
         the root"
    );
}

/// Run something in another session; once it waits for the queue's ticker lock, do `held` with the
/// lock and let go of it.
fn while_the_ticker_lock_is_held(database: &Scratch, held: &str, waiting: &str) -> String {
    std::thread::scope(|scope| {
        // Inside, so that a failure here ends the wait there.
        let (mut holder, mut watch) = (database.connect(), database.connect());
        run(
            &mut holder,
            "begin; select pgq._lock('ticks', queue_id) from pgq.queue where queue_name = 'q'",
        );
        let answer = scope.spawn(|| row(&mut patient(database.connect()), waiting));
        let waits = "select count(*) from pg_stat_activity where datname = current_database() and \
            wait_event = 'advisory'";
        assert!(wait_until(PATIENCE, || row(&mut watch, waits) == "1"));
        run(&mut holder, held);
        run(&mut holder, "commit");
        answer.join().unwrap()
    })
}

#[test]
fn ticker_that_was_on_its_way_lays_nothing_behind_the_last_tick() {
    let (database, mut client) = root();
    let demote =
        "select pgq_node.demote_root('q', 1, null); select pgq_node.demote_root('q', 2, null)";
    assert_eq!(while_the_ticker_lock_is_held(&database, demote, "select pgq.ticker('q')"), "∅");
    assert_eq!(row(&mut client, "select max(tick_id) from pgq.tick"), "2");
}

#[test]
fn last_tick_comes_after_that_of_a_ticker_that_was_faster() {
    let (database, mut client) = root();
    run(&mut client, "select pgq_node.demote_root('q', 1, null)");
    let tick = "insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
                select queue_id, nextval(queue_tick_seq::regclass), 1 from pgq.queue where \
                queue_name = 'q'";
    let last = while_the_ticker_lock_is_held(
        &database,
        tick,
        "select last_tick from pgq_node.demote_root('q', 2, null)",
    );
    assert_eq!(last, "3");
}
