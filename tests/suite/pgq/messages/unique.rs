//! Messages that are sent once: by key, for a while, whoever sends them and however it ends.

use std::thread;

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Cluster, PATIENCE, wait_until};

use super::{drain, queue, tick};

const SEND: &str = "select pgq.send('q', 't', 'x', unique_key => 'k')";

#[test]
fn a_second_message_with_the_key_is_the_first_one() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.create_queue('other')");
    assert_eq!(row(&mut client, SEND), "1");
    assert_eq!(row(&mut client, SEND), "1");
    for (call, id) in [
        ("send('q', 't', 'x', unique_key => 'K')", "2"),
        ("send('q', 't', 'y', 'key', '{}', unique_key => 'k', unique_for => '1 day')", "1"),
        ("send('q', 't', '{}'::jsonb, unique_key => 'k')", "1"),
        ("send('q', 't', 'x', unique_key => '')", "3"),
        ("send('q', 't', 'x', unique_key => '')", "3"),
        ("send('other', 't', 'x', unique_key => 'k')", "1"),
        ("send('q', 't', 'x')", "4"),
    ] {
        assert_eq!(row(&mut client, &format!("select pgq.{call}")), id, "{call}");
    }
    run(&mut client, &format!("begin; {SEND}"));
    assert_eq!(row(&mut client, "select pgq.send('q', 't', 'x', unique_key => 'in one')"), "5");
    assert_eq!(row(&mut client, "select pgq.send('q', 't', 'x', unique_key => 'in one')"), "5");
    run(&mut client, "commit");
    tick(&mut client);
    assert_eq!(drain(&mut client, "c", 10).1.len(), 5);
}

#[test]
fn a_key_is_free_again_after_its_time() {
    let (_database, mut client) = queue();
    for (length, next) in [("'0'", "2"), ("'2 hours'", "3")] {
        let send =
            format!("select pgq.send('q', 't', 'x', unique_key => 'k', unique_for => {length})");
        assert_eq!(
            row(&mut client, &send),
            next.parse::<i64>().map(|n| n - 1).unwrap().to_string()
        );
        run(&mut client, "update pgq.unique_key set uk_expires = uk_expires - interval '3 hours'");
    }
    run(&mut client, "select pgq.set_queue_config('q', 'unique_for', '3 days')");
    assert_eq!(row(&mut client, SEND), "3");
    let left = "select count(*) from pgq.unique_key
                 where uk_expires between now() + interval '2 days' and now() + interval '3 days'";
    assert_eq!(row(&mut client, left), "1");
    for value in ["-1 s", "33 days"] {
        let set = format!("select pgq.set_queue_config('q', 'unique_for', '{value}')");
        assert!(outcome(&mut client, &set).starts_with("ERROR 22023"), "{value}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (_database, mut client) = queue();
    for (arguments, error) in [
        ("unique_for => '1 h'", "ERROR 22023: unique_for needs a unique_key"),
        (
            "unique_key => 'k', unique_for => '33 days'",
            "ERROR 22023: unique_for must be between 0 and 32 days, not 33 days",
        ),
        (
            "unique_key => 'k', unique_for => '-1 s'",
            "ERROR 22023: unique_for must be between 0 and 32 days, not -00:00:01",
        ),
        ("deliver_at => 'infinity'", "ERROR 22023: deliver_at must be a time, not infinity"),
        ("null, '[1]', unique_key => 'k'", "ERROR 22023: headers must be a JSON object"),
    ] {
        let call = format!("select pgq.send('q', 't', 'x', {arguments})");
        assert!(
            outcome(&mut client, &call).starts_with(error),
            "{call}: {}",
            outcome(&mut client, &call)
        );
    }
    let nowhere = "select pgq.send('nowhere', 't', 'x', unique_key => 'k')";
    assert_eq!(outcome(&mut client, nowhere), "ERROR 42704: No such queue");
    run(&mut client, "update pgq.queue set queue_disable_insert = true");
    assert!(outcome(&mut client, SEND).starts_with("ERROR 55000"));
    run(&mut client, "update pgq.queue set queue_disable_insert = false");
    // What failed has left no key.
    assert_eq!(row(&mut client, "select count(*) from pgq.unique_key"), "0");
}

/// The second waits for the first; after a rollback it is the second that sends.
#[test]
fn of_two_at_once_one_sends() {
    for isolation in ["read committed", "repeatable read", "serializable"] {
        for (end, sent) in [("commit", false), ("rollback", true), ("rollback to s", true)] {
            let (database, mut client) = queue();
            run(&mut client, &format!("begin; savepoint s; {SEND}"));
            let mut other = database.connect();
            let pid = row(&mut other, "select pg_backend_pid()");
            run(&mut other, &format!("begin isolation level {isolation}; select 1"));
            let answer = thread::scope(|scope| {
                let second = scope.spawn(|| outcome(&mut other, SEND));
                let mut watcher = database.connect();
                let waits = format!(
                    "select count(*) from pg_locks where pid = {pid} and not granted
                        and locktype = 'transactionid'"
                );
                assert!(wait_until(PATIENCE, || row(&mut watcher, &waits) == "1"));
                run(&mut client, end);
                second.join().unwrap()
            });
            run(&mut other, "commit");
            assert_eq!(answer == "1", !sent, "{isolation}, {end}: {answer}");
            assert_eq!(row(&mut client, "select count(*) from pgq.event_1"), "1", "{end}");
        }
    }
}

/// A lock for each key would fill the lock table of the server.
#[test]
fn many_keys_in_one_transaction_take_no_room_in_the_lock_table() {
    let (_database, mut client) = queue();
    run(&mut client, "begin");
    run(
        &mut client,
        "select pgq.send('q', 't', 'x', unique_key => n::text) from generate_series(1, 3000) n",
    );
    let own =
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
    assert_eq!(row(&mut client, own), "0");
    run(&mut client, "commit");
    assert_eq!(row(&mut client, "select count(*) from pgq.unique_key"), "3000");
}

#[test]
fn keys_are_emptied_by_truncate_and_leave_no_dead_rows() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.send('q', 't', 'x', unique_key => n::text, unique_for => '1 minute')
           from generate_series(1, 1000) n",
    );
    run(&mut client, "select pgq.maint_empty_buckets()");
    assert_eq!(row(&mut client, "select count(*) from pgq.unique_key"), "1000", "they are in use");
    // As if they had been sent an hour or two ago.
    run(
        &mut client,
        "with old as (delete from pgq.unique_key returning *)
         insert into pgq.unique_key select * from old where false",
    );
    run(
        &mut client,
        "do $$ begin execute format('insert into pgq.%I select n, n, n, now() - interval ''1 hour''
                                       from generate_series(1, 10) n',
                                    'unique_' || pgq._old_bucket(0, now())); end $$",
    );
    assert_eq!(
        rows(
            &mut client,
            "select func_name from pgq.maint_operations() where func_name like '%bucket%'"
        ),
        ["pgq.maint_empty_buckets"]
    );
    run(&mut client, "select pgq.maint_empty_buckets()");
    assert_eq!(row(&mut client, "select count(*) from pgq.unique_key"), "0");
    assert_eq!(
        row(&mut client, "select count(*) from pgq._old_buckets() b where b like 'unique%'"),
        "0"
    );
}

#[test]
fn the_bucket_that_is_emptied_is_none_that_is_in_use() {
    let (_database, mut client) = queue();
    let clash = "select count(*)
        from generate_series(0, 3) c,
             generate_series('2026-01-01'::timestamptz, '2028-03-01', '1 day 7 hours 13 minutes') t,
             lateral (values (interval '0'), ('1 second'), ('59 minutes'), ('1 hour'), ('5 hours'),
                             ('1 day'), ('3 days'), ('32 days'), ('300 days'), ('366 days')) l (l)
       where pgq._bucket(t, t + l) = pgq._old_bucket(c, t)
          or pgq._bucket(t, t + l) = pgq._old_bucket(c, t + l)";
    assert_eq!(row(&mut client, clash), "0");
    let buckets = "select count(distinct pgq._bucket(now(), now() + n * interval '1 hour')),
                          max(pgq._bucket(now(), now() + n * interval '1 hour'))
                     from generate_series(0, 10000) n";
    assert!(row(&mut client, buckets).ends_with("|11"));
}

/// Keys are data that a crash must keep with the message, or lose with it.
#[test]
fn a_crash_keeps_both_or_neither() {
    let mut cluster = Cluster::builder().start();
    let mut client = cluster.connect("postgres");
    run(&mut client, "create extension pgq; select pgq.create_queue('q')");
    assert_eq!(row(&mut client, SEND), "1");
    run(&mut client, "begin; select pgq.send('q', 't', 'x', unique_key => 'open')");
    cluster.stop(pgq_tests::Stop::Kill);
    cluster.start();
    let mut client = cluster.connect("postgres");
    assert_eq!(row(&mut client, SEND), "1");
    let open = row(&mut client, "select pgq.send('q', 't', 'x', unique_key => 'open')");
    assert_eq!(
        row(&mut client, &format!("select count(*) from pgq.event_1 where ev_id in (1, {open})")),
        "2"
    );
    assert_eq!(row(&mut client, "select count(*) from pgq.event_1"), "2");
}
