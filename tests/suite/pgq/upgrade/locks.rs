//! An update and sessions that use queues wait for each other, one after the other: none is the
//! victim of a deadlock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pgq_tests::{PATIENCE, Scratch, Tree, scratch_database_on, wait_until};
use postgres::Client;

use crate::companions::create_old_pgq_ext;
use crate::pgq::upgrade::released::upstream_database;
use pgq_tests::query::{outcome, row, rows, run};

/// What sessions do; each of the calls takes locks in an order of its own.
const CALLS: [&str; 13] = [
    "select pgq.get_queue_info('q')",
    "select pgq.next_batch('q', 'c')",
    "select pgq.get_batch_events(sub_batch) from pgq.subscription where sub_batch is not null",
    "select pgq.event_retry(sub_batch, 1, 0) from pgq.subscription where sub_batch is not null",
    "select pgq.finish_batch(sub_batch) from pgq.subscription where sub_batch is not null",
    "select pgq.insert_event('q', 't', 'd')",
    "select pgq.ticker()",
    "select pgq.register_consumer('q', 'another')",
    "select pgq.unregister_consumer('q', 'another')",
    "select pgq.get_consumer_info()",
    "select pgq.maint_retry_events()",
    "select pgq.maint_rotate_tables_step1('q')",
    "analyze pgq.tick, pgq.subscription, pgq.retry_queue",
];

/// Run `update` in a session of its own while `session` is in a transaction that has made the first
/// call; then make the other calls in that transaction. Nobody fails.
fn update_beside(database: &Scratch, first: &str, calls: &[&str], update: &str) {
    let mut session = database.connect();
    let mut watcher = database.connect();
    run(&mut session, "set lock_timeout = '60 s'; begin");
    assert!(!outcome(&mut session, first).starts_with("ERROR"), "{first}");
    let mut updater = database.connect();
    let pid = row(&mut updater, "select pg_backend_pid()");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let done = &done;
        let updating = scope.spawn(move || {
            let answer = outcome(&mut updater, update);
            done.store(true, Ordering::SeqCst);
            answer
        });
        let waiting = format!(
            "select wait_event_type = 'Lock' or wait_event = 'PgSleep' from pg_stat_activity where pid = {pid}"
        );
        let is_there = wait_until(PATIENCE, || {
            done.load(Ordering::SeqCst) || row(&mut watcher, &waiting) == "t"
        });
        let answers: Vec<String> = calls.iter().map(|call| outcome(&mut session, call)).collect();
        let end = outcome(&mut session, "commit");
        let updated = updating.join().unwrap();
        assert!(is_there, "the update neither waits nor ends");
        for (call, answer) in calls.iter().zip(&answers) {
            assert!(!answer.starts_with("ERROR"), "{first}, then {call}: {answer}");
        }
        assert_eq!((end.as_str(), updated.as_str()), ("", ""), "{first}");
    });
}

fn prepare(client: &mut Client) {
    run(
        client,
        "select pgq.create_queue('q'), pgq.register_consumer('q', 'c'), pgq.register_consumer('q', 'another');
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    run(client, "select pgq.insert_event('q', 't', 'd')");
    run(client, "select pgq.ticker()");
}

#[test]
fn an_update_of_pgq_and_its_users_do_not_deadlock() {
    for first in CALLS {
        let (database, mut client) = upstream_database();
        prepare(&mut client);
        update_beside(&database, first, &CALLS, "alter extension pgq update");
        assert_eq!(row(&mut client, "select pgq.version()"), "4.1");
        assert_eq!(row(&mut client, "select pgq.insert_event('q', 't', 'd') > 0"), "t");
    }
}

/// As old databases have it: more tables change, and sessions use them before pgq.queue.
#[test]
fn an_update_that_changes_more_tables_does_not_deadlock_either() {
    for first in [CALLS[3], CALLS[4], CALLS[10], "select count(*) from pgq.tick", CALLS[0]] {
        let (database, mut client) = upstream_database();
        prepare(&mut client);
        run(
            &mut client,
            "alter table pgq.subscription alter sub_last_tick set not null;
             alter table pgq.tick alter tick_event_seq drop not null",
        );
        run(&mut client, "select pgq.next_batch('q', 'c')");
        update_beside(&database, first, &CALLS, "alter extension pgq update");
        let nullable = row(
            &mut client,
            "select string_agg(attname, ',' order by attname) from pg_attribute where attnum > 0 and not attnotnull
              and attrelid in ('pgq.subscription'::regclass, 'pgq.tick'::regclass)",
        );
        assert_eq!(nullable, "sub_batch,sub_last_tick,sub_next_tick");
    }
}

#[test]
fn an_update_locks_pgq_queue_alone_against_readers_and_writers() {
    let (_database, mut client) = upstream_database();
    // The state of a database that was updated once: nothing else is to be changed.
    run(&mut client, "create index rq_queue_idx on pgq.retry_queue (ev_queue, ev_retry_after)");
    run(&mut client, "create temporary table old as select oid from pg_class");
    run(&mut client, "begin; alter extension pgq update");
    let strong = rows(
        &mut client,
        "select distinct relation::regclass, mode from pg_locks l join pg_class c on c.oid = l.relation
          where pid = pg_backend_pid()
            and relnamespace = 'pgq'::regnamespace
            and relkind in ('r', 'S')
            and relation in (select oid from old)
            and mode not in ('AccessShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock')
          order by 1, 2",
    );
    assert!(
        strong.iter().all(|lock| lock.starts_with("pgq.queue|")),
        "more than pgq.queue is locked: {strong:?}"
    );
    run(&mut client, "rollback");
}

#[test]
fn an_update_gives_up_after_lock_timeout() {
    for held in ["select pgq.get_queue_info('q')", "analyze pgq.tick"] {
        let (database, mut client) = upstream_database();
        prepare(&mut client);
        let mut holder = database.connect();
        run(&mut holder, &format!("begin; {held}"));
        run(&mut client, "set lock_timeout = '200 ms'");
        let answer = outcome(&mut client, "alter extension pgq update");
        assert!(answer.starts_with("ERROR 55P03"), "{held}: {answer}");
        run(&mut holder, "commit");
        run(&mut client, "reset lock_timeout");
        assert_eq!(outcome(&mut client, "alter extension pgq update"), "");
    }
}

/// Tables as pgq_ext 3.1 has them, all four of which change.
#[test]
fn an_update_of_pgq_ext_and_its_users_do_not_deadlock() {
    const CALLS: [&str; 4] = [
        "insert into pgq_ext.completed_event values ('c', '', 2, 2) on conflict do nothing",
        "insert into pgq_ext.completed_batch values ('c', '', 2) on conflict do nothing",
        "insert into pgq_ext.completed_tick values ('c', '', 2) on conflict do nothing",
        "insert into pgq_ext.partial_batch values ('c', '', 2) on conflict do nothing",
    ];
    for first in CALLS {
        let database = scratch_database_on(Tree::Ours);
        let mut client = database.connect();
        create_old_pgq_ext(&mut client);
        update_beside(&database, first, &CALLS, "alter extension pgq_ext update");
        assert_eq!(row(&mut client, "select pgq_ext.version()"), "4.0");
    }
}
