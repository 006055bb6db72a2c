//! Consumers, batches, retries and rotation, with several sessions at a time.

use std::thread;

use pgq_tests::{Cluster, PATIENCE, Scratch, scratch_database, wait_until};
use postgres::Client;

use pgq_tests::query::{outcome, patient, row, rows, run};

fn queue() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')");
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    (database, client)
}

/// Run a statement in several sessions at once: their outcomes, sorted.
fn at_once(database: &Scratch, sessions: usize, sql: &str) -> Vec<String> {
    let barrier = std::sync::Barrier::new(sessions);
    let mut clients: Vec<_> = (0..sessions).map(|_| database.connect()).collect();
    let mut outcomes = thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    barrier.wait();
                    outcome(client, sql)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    outcomes.sort();
    outcomes
}

#[test]
fn sessions_that_create_one_queue_make_one() {
    let database = scratch_database();
    for n in 0..5 {
        let outcomes = at_once(&database, 4, &format!("select pgq.create_queue('queue {n}')"));
        assert_eq!(outcomes, ["0", "0", "0", "1"]);
    }
    assert_eq!(row(&mut database.connect(), "select count(*) from pgq.tick"), "5");
}

#[test]
fn sessions_that_register_one_consumer_register_it_once() {
    let (database, mut client) = queue();
    for n in 0..5 {
        let outcomes =
            at_once(&database, 4, &format!("select pgq.register_consumer('q', 'consumer {n}')"));
        assert_eq!(outcomes, ["0", "0", "0", "1"]);
    }
    assert_eq!(
        row(&mut client, "select count(distinct sub_id), count(*) from pgq.subscription"),
        "6|6"
    );
}

#[test]
fn sessions_of_one_consumer_get_one_batch() {
    let (database, mut client) = queue();
    for round in 1..=8 {
        run(&mut client, "select pgq.insert_event('q', 't', 'd')");
        run(&mut client, "select pgq.ticker('q')");
        let outcomes = at_once(&database, 4, "select pgq.next_batch('q', 'c')");
        assert_eq!(outcomes, vec![round.to_string(); 4]);
        assert_eq!(
            at_once(&database, 4, &format!("select pgq.finish_batch({round})")),
            ["0", "0", "0", "1"]
        );
    }
}

#[test]
fn serial_ids_recover_when_their_sequences_are_behind() {
    let (database, mut client) = queue();
    for n in 0..6 {
        run(
            &mut client,
            &format!("select pgq.create_queue('q{n}'), pgq.register_consumer('q', 'c{n}')"),
        );
    }
    // As a restore leaves them.
    run(
        &mut client,
        "select setval('pgq.queue_queue_id_seq', 1, false), setval('pgq.consumer_co_id_seq', 1, false), setval('pgq.subscription_sub_id_seq', 1, false)",
    );
    assert_eq!(at_once(&database, 4, "select pgq.create_queue('new')"), ["0", "0", "0", "1"]);
    let clients: Vec<_> =
        (0..4).map(|n| format!("select pgq.register_consumer('q', 'new {n}')")).collect();
    thread::scope(|scope| {
        for sql in &clients {
            let mut client = database.connect();
            scope.spawn(move || assert_eq!(row(&mut client, sql), "1"));
        }
    });
    assert_eq!(
        row(
            &mut client,
            "select count(*) = count(distinct sub_id) and count(*) = 11 from pgq.subscription"
        ),
        "t"
    );
    assert_eq!(row(&mut client, "select count(*), count(distinct queue_id) from pgq.queue"), "8|8");
}

#[test]
fn retries_of_a_disabled_queue_wait_and_hold_up_no_other() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.create_queue('closed'); select pgq.register_consumer('closed', 'c')",
    );
    run(
        &mut client,
        "select pgq.create_queue('limited'); select pgq.register_consumer('limited', 'c')",
    );
    for queue in ["closed", "limited", "q"] {
        run(
            &mut client,
            &format!(
                "select pgq.event_retry_raw('{queue}', 'c', now() - interval '1 hour', n, '2001-02-03', 4, 't', n::text, 'x', null, null, null)
                   from generate_series(10, 2509) n"
            ),
        );
    }
    run(
        &mut client,
        "update pgq.queue set queue_disable_insert = true where queue_name = 'closed'",
    );
    run(&mut client, "update pgq.queue set queue_per_tx_limit = 900 where queue_name = 'limited'");
    let moves: Vec<_> =
        (0..5).map(|_| row(&mut client, "select pgq.maint_retry_events()")).collect();
    assert_eq!(moves, ["1900", "1900", "1200", "0", "0"]);
    assert_eq!(
        rows(&mut client, "select ev_queue, count(*) from pgq.retry_queue group by 1"),
        ["2|2500"]
    );
    // The ticker notices each of them.
    assert_eq!(row(&mut client, "select ev_new from pgq.get_queue_info('q')"), "2499");
    run(&mut client, "select pgq.ticker()");
    let mut found = Vec::new();
    loop {
        let batch = row(&mut client, "select pgq.next_batch('q', 'c')");
        if batch == "∅" {
            break;
        }
        found.extend(rows(&mut client, &format!("select ev_id from pgq.get_batch_events({batch}) where ev_retry = 4 and ev_time = '2001-02-03' and ev_extra1 = 'x'")));
        run(&mut client, &format!("select pgq.finish_batch({batch})"));
    }
    assert_eq!(found.len(), 2500);
    run(&mut client, "update pgq.queue set queue_disable_insert = false");
    assert_eq!(row(&mut client, "select pgq.maint_retry_events()"), "1000");
}

#[test]
fn retry_finds_its_event_in_a_batch_of_many_ticks() {
    let (database, mut client) = queue();
    let mut late = database.connect();
    run(&mut late, "begin; select pgq.insert_event('q', 't', 'late')");
    for n in 0..6 {
        run(
            &mut client,
            &format!("select pgq.insert_event('q', 't', '{n}') from generate_series(1, 3)"),
        );
        run(&mut client, "select pgq.ticker('q')");
    }
    run(&mut late, "commit");
    run(&mut client, "select pgq.ticker('q')");
    let batch =
        row(&mut client, "select batch_id from pgq.next_batch_custom('q', 'c', null, 15, null)");
    let ids = rows(&mut client, &format!("select ev_id from pgq.get_batch_events({batch})"));
    assert_eq!(ids.len(), 19);
    for id in &ids {
        assert_eq!(row(&mut client, &format!("select pgq.event_retry({batch}, {id}, 0)")), "1");
        assert_eq!(row(&mut client, &format!("select pgq.event_retry({batch}, {id}, now())")), "0");
    }
    assert_eq!(
        outcome(&mut client, &format!("select pgq.event_retry({batch}, 20, 0)")),
        "ERROR 42704: event not found"
    );
    assert_eq!(row(&mut client, &format!("select pgq.batch_retry({batch}, 0)")), "0");
    assert_eq!(rows(&mut client, "select ev_id from pgq.retry_queue order by 1"), ids);
}

/// Rotation has a server of its own: transactions of other tests would hold it up, as those of
/// autovacuum, which is on all the same.
fn rotating() -> (Cluster, Client) {
    let cluster = Cluster::builder().set("autovacuum_naptime", "1d").start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension pgq; select pgq.create_queue('q')");
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    (cluster, client)
}

fn is_due(client: &mut Client) {
    run(client, "update pgq.queue set queue_switch_time = now() - interval '1 day'");
}

const STATE: &str = "select queue_cur_table, queue_switch_step2 is null from pgq.queue";

#[test]
fn rotation_waits_for_consumers_and_for_readers_of_the_table() {
    let (cluster, mut client) = rotating();
    let step1 = "select pgq.maint_rotate_tables_step1('q')";
    let step2 = "select pgq.maint_rotate_tables_step2()";
    run(&mut client, "select pgq.register_consumer('q', 'c')");
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "0|f", "it is not time");
    is_due(&mut client);
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "0|f", "the consumer is at the first tick");
    run(&mut client, "select pgq.ticker()");
    run(&mut client, "select pgq.next_batch('q', 'c')");
    run(&mut client, "select pgq.finish_batch(1)");

    let mut reader = cluster.connect("postgres");
    run(&mut reader, "begin; select count(*) from pgq.event_1_1");
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "0|f", "somebody reads the next table");
    run(&mut reader, "commit");
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "1|t");
    is_due(&mut client);
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "1|t", "step 2 is missing");
    assert_eq!(
        rows(&mut client, "select * from pgq.maint_operations()"),
        ["pgq.maint_rotate_tables_step2|∅"]
    );
    run(&mut client, step2);
    assert_eq!(row(&mut client, STATE), "1|f");
    assert_eq!(
        rows(&mut client, "select * from pgq.maint_operations()"),
        ["pgq.maint_rotate_tables_step1|q", "pgq.maint_rotate_tables_step2|∅"]
    );
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "1|f", "the consumer may need the previous table");
    run(&mut client, "select pgq.unregister_consumer('q', 'c')");
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "2|t");
    run(&mut client, step2);
    is_due(&mut client);
    run(&mut client, step1);
    assert_eq!(row(&mut client, STATE), "0|t");
    // The newest tick is never deleted, so that a consumer can begin.
    assert_eq!(row(&mut client, "select pgq.register_consumer('q', 'c')"), "1");
}

#[test]
fn both_steps_in_one_transaction_are_not_taken_for_two() {
    let (_cluster, mut client) = rotating();
    is_due(&mut client);
    run(
        &mut client,
        "begin; select pgq.maint_rotate_tables_step1('q'); select pgq.maint_rotate_tables_step2(); commit",
    );
    assert_eq!(row(&mut client, STATE), "1|t");
    // A transaction that has its id from before the switch would say that everybody younger knows
    // of it.
    run(&mut client, "begin isolation level repeatable read; select txid_current()");
    assert_eq!(
        outcome(&mut client, "select pgq.maint_rotate_tables_step2()"),
        "ERROR 25001: pgq.maint_rotate_tables_step2 must be called in a transaction of its own"
    );
    run(&mut client, "rollback");
    run(&mut client, "select pgq.maint_rotate_tables_step2()");
    assert_eq!(row(&mut client, STATE), "1|f");
}

/// A transaction that has an id but has not looked yet where to write, while both steps happen,
/// writes to the new table.
#[test]
fn step_2_covers_transactions_that_have_their_id_already() {
    let (cluster, mut client) = rotating();
    run(&mut client, "select pgq.register_consumer('q', 'c')");
    run(&mut client, "select pgq.ticker(); select pgq.next_batch('q', 'c')");
    run(&mut client, "select pgq.finish_batch(1)");
    let mut early = cluster.connect("postgres");
    let mut maintenance = cluster.connect("postgres");
    run(&mut maintenance, "begin; select txid_current()"); // older than the switch
    run(&mut early, "begin; select txid_current()");
    is_due(&mut client);
    run(&mut client, "select pgq.maint_rotate_tables_step1('q')");
    run(&mut maintenance, "select pgq.maint_rotate_tables_step2(); commit");
    let covered = format!(
        "select queue_switch_step2 > {} from pgq.queue",
        row(&mut early, "select txid_current()")
    );
    assert_eq!(row(&mut client, &covered), "t");
    run(&mut early, "select pgq.insert_event('q', 't', 'early'); commit");
    run(&mut client, "select pgq.ticker()");
    let batch = row(&mut client, "select pgq.next_batch('q', 'c')");
    assert_eq!(
        rows(&mut client, &format!("select ev_data from pgq.get_batch_events({batch})")),
        ["early"]
    );
}

#[test]
fn a_tick_that_a_consumer_is_set_to_is_not_deleted() {
    let (cluster, mut client) = rotating();
    run(&mut client, "select pgq.ticker()");
    run(&mut client, "select pgq.ticker()");
    let mut session = cluster.connect("postgres");
    run(&mut session, "begin; select pgq.register_consumer_at('q', 'c', 1)");
    is_due(&mut client);
    run(&mut client, "select pgq.maint_rotate_tables_step1('q')");
    assert_eq!(row(&mut client, STATE), "0|f", "somebody registers at this moment");
    run(&mut session, "commit");
    run(&mut client, "select pgq.maint_rotate_tables_step1('q')");
    assert_eq!(row(&mut client, STATE), "0|f");
    assert_eq!(row(&mut client, "select pgq.next_batch('q', 'c')"), "1");
}

#[test]
fn maintenance_finds_what_there_is_to_do() {
    let (cluster, mut client) = rotating();
    run(&mut client, "create extension pgq_node");
    run(&mut client, "update pgq.queue set queue_extra_maint = array['one.thing', 'another']");
    assert_eq!(
        rows(&mut client, "select * from pgq.maint_operations()"),
        ["one.thing|q", "another|q"]
    );
    assert_eq!(
        rows(&mut client, "select * from pgq.maint_tables_to_vacuum()"),
        Vec::<String>::new()
    );
    run(&mut client, "alter system set autovacuum = off");
    run(&mut client, "select pg_reload_conf()");
    let vacuum =
        "select string_agg(func_arg, ' ') from pgq.maint_operations() where func_name = 'vacuum'";
    assert!(
        wait_until(PATIENCE, || row(&mut cluster.connect("postgres"), "show autovacuum") == "off")
    );
    assert_eq!(
        row(&mut client, vacuum),
        "pgq.subscription pgq.consumer pgq.queue pgq.tick pgq.retry_queue pgq.page pgq.aside \
         pgq.dead_letter pgq.delayed_state pgq.delayed_left pgq.schedule pgq.slot \
         pgq.slot_worker pgq_node.local_state"
    );
}

/// `next_batch` waits for another session, and meanwhile an event is committed and ticked: the
/// batch that it opens then ends at a tick younger than the snapshot of the statement that both
/// functions are called in.
#[test]
fn a_batch_opened_and_read_in_one_statement_is_whole() {
    let (database, mut client) = queue();
    let mut other = database.connect();
    run(&mut other, "begin; select * from pgq.subscription for update");
    let read = "select ev_data from pgq.get_batch_events(pgq.next_batch('q', 'c'))";
    let seen = thread::scope(|scope| {
        let mut reader = patient(database.connect());
        let reader = scope.spawn(move || rows(&mut reader, read));
        let waits = wait_until(PATIENCE, || {
            row(
                &mut client,
                "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock'",
            ) == "1"
        });
        assert!(waits, "the reader does not wait for the lock");
        run(&mut client, "select pgq.insert_event('q', 't', 'one')");
        run(&mut client, "select pgq.ticker('q')");
        run(&mut other, "commit");
        reader.join().unwrap()
    });
    assert_eq!(seen, ["one"]);
}

#[test]
fn an_event_table_that_refuses_nulls_refuses_them() {
    let (_database, mut client) = queue();
    run(&mut client, "alter table pgq.event_1_0 alter column ev_extra1 set not null");
    for insert in
        ["select pgq.insert_event('q', 't', 'd')", "select pgq.insert_events('q', '{t}', '{d}')"]
    {
        assert!(outcome(&mut client, insert).starts_with("ERROR 23502: "), "{insert}");
    }
    run(&mut client, "select pgq.insert_event('q', 't', 'd', 'x', null, null, null)");
    assert_eq!(row(&mut client, "select ev_extra1 from pgq.event_1"), "x");
}
