//! What a session knows of a queue is right in a database whose SQL is still PgQ 3's and whose
//! functions are ours, and in one of today where nothing tells of a change.

use pgq_tests::{Cluster, PATIENCE, Scratch, scratch_database, wait_until};
use postgres::Client;

use crate::pgq::upgrade::released::{swap_libraries, upstream_database};
use pgq_tests::query::{outcome, row, rows, run};

/// Queue `q` with consumer `c`, which ticks and rotates whenever it is asked to, and tables whose
/// changes go there.
const QUEUE: &str = "
    select pgq.create_queue('q'), pgq.register_consumer('q', 'c');
    update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0',
        queue_rotation_period = '0';
    create table by_url (n int primary key);
    create trigger log after insert on by_url for each row execute function pgq.logutriga('q');
    create table by_sql (n int primary key);
    create trigger log after insert on by_sql for each row execute function pgq.sqltriga('q')";

/// Ways to put an event into the queue whose data ends with a number.
const WAYS: [&str; 6] = [
    "select pgq.insert_event('q', 't', '$n')",
    "select pgq.insert_event('q', 't', '$n', null, null, null, null)",
    "select pgq.insert_event_raw('q', null, now(), null, null, 't', '$n', null, null, null, null)",
    "insert into by_url values ($n)",
    "insert into by_sql values ($n)",
    "do $$ begin execute format('insert into %s (ev_id, ev_time, ev_data) values ($n, now(), ''$n'')',
                                pgq.current_event_table('q')); end $$",
];

/// A database with upstream's SQL that finds its C functions in our library.
fn served_database() -> (Scratch, Client) {
    let (database, mut client) = upstream_database();
    swap_libraries(&mut client);
    run(&mut client, QUEUE);
    // This session keeps the addresses of upstream's functions that it has called.
    let fresh = database.connect();
    (database, fresh)
}

/// Give the consumer everything there is; the numbers of the events.
fn consume(client: &mut Client) -> Vec<i32> {
    run(client, "select pgq.ticker('q')");
    let mut found = Vec::new();
    loop {
        let batch = row(client, "select pgq.next_batch('q', 'c')");
        if batch == "∅" {
            return found;
        }
        let numbers = format!(
            "select (regexp_match(ev_data, '([0-9]+)[^0-9]*$'))[1] from pgq.get_batch_events({batch})"
        );
        found.extend(rows(client, &numbers).iter().map(|number| number.parse::<i32>().unwrap()));
        run(client, &format!("select pgq.finish_batch({batch})"));
    }
}

/// Rotate, once the transactions of other tests no longer stand in the way; what the consumer gets
/// meanwhile.
fn rotate(client: &mut Client) -> Vec<i32> {
    let table = "select queue_cur_table from pgq.queue where queue_name = 'q'";
    let before = row(client, table);
    let mut found = Vec::new();
    let rotated = wait_until(PATIENCE, || {
        found.extend(consume(client));
        run(client, "select pgq.maint_rotate_tables_step1('q')");
        run(client, "select pgq.maint_rotate_tables_step2()");
        row(client, table) != before
    });
    assert!(rotated, "no rotation");
    found
}

/// One session for each way to write, before and after each of four rotations by `admin`: all
/// events arrive once.
fn nothing_is_lost(database: &Scratch, admin: &mut Client) {
    let mut writers: Vec<Client> = WAYS.iter().map(|_| database.connect()).collect();
    let (mut written, mut arrived) = (0, Vec::new());
    for part in 0..8 {
        for (writer, way) in writers.iter_mut().zip(WAYS) {
            for _event in 0..3 {
                written += 1;
                run(writer, &way.replace("$n", &written.to_string()));
            }
        }
        arrived.extend(consume(admin));
        if part % 2 == 0 {
            arrived.extend(rotate(admin));
        }
    }
    arrived.sort_unstable();
    assert_eq!(arrived, (1..=written).collect::<Vec<i32>>());
}

#[test]
fn no_event_is_lost_by_a_rotation_on_the_sql_of_3() {
    let (database, mut admin) = served_database();
    nothing_is_lost(&database, &mut admin);
}

/// A transaction that has its snapshot, or its id, from before a rotation.
#[test]
fn an_open_transaction_writes_where_its_events_are_looked_for_on_the_sql_of_3() {
    let (database, mut admin) = served_database();
    let mut writer = database.connect();
    run(&mut writer, &WAYS[0].replace("$n", "1"));
    assert_eq!(consume(&mut admin), [1]);
    run(&mut writer, "begin isolation level repeatable read; select count(*) from pgq.queue");
    assert!(rotate(&mut admin).is_empty());
    run(&mut writer, &format!("{}; commit", WAYS[0].replace("$n", "2")));
    assert_eq!(consume(&mut admin), [2]);
}

#[test]
fn settings_of_a_queue_are_seen_at_once_on_the_sql_of_3() {
    let (database, mut admin) = served_database();
    let mut writer = database.connect();
    let insert = "select pgq.insert_event('q', 't', '1') > 0";
    for session in 0..2 {
        let set = |admin: &mut Client, writer: &mut Client, what: &str| {
            let changer = if session == 0 { admin } else { writer };
            run(changer, &format!("update pgq.queue set {what}"));
        };
        assert_eq!(outcome(&mut writer, insert), "t");
        set(&mut admin, &mut writer, "queue_disable_insert = true");
        assert_eq!(outcome(&mut writer, insert), "ERROR 55000: Insert into queue disallowed");
        set(&mut admin, &mut writer, "queue_disable_insert = false, queue_per_tx_limit = 0");
        assert_eq!(
            outcome(&mut writer, insert),
            "ERROR 54000: Queue 'q' allows max 0 events from one TX"
        );
        set(&mut admin, &mut writer, "queue_per_tx_limit = null");
    }
    // In the middle of a transaction that has its id and its locks.
    run(&mut writer, &format!("begin; {insert}"));
    run(&mut admin, "update pgq.queue set queue_disable_insert = true");
    assert_eq!(outcome(&mut writer, insert), "ERROR 55000: Insert into queue disallowed");
    run(&mut writer, "rollback");
}

/// A schema of today, and what keeps its triggers from telling of a change.
#[test]
fn no_event_is_lost_where_nothing_tells_of_a_rotation() {
    for silence in [
        "set session_replication_role = replica",
        "alter table pgq.queue disable trigger all",
        "alter table pgq.queue disable trigger queue_changed",
        // As a restore with --disable-triggers leaves them: not ALWAYS any more.
        "alter table pgq.queue disable trigger all; alter table pgq.queue enable trigger all;
         set session_replication_role = replica",
        "drop trigger queue_changed on pgq.queue",
        "create or replace function pgq._queue_changed() returns trigger language plpgsql as 'begin return null; end'",
    ] {
        let database = scratch_database();
        let mut admin = database.connect();
        run(&mut admin, QUEUE);
        // A writer that knows the queue from before.
        let mut early = database.connect();
        run(&mut early, &WAYS[0].replace("$n", "0"));
        assert_eq!(consume(&mut admin), [0]);
        run(&mut admin, silence);
        nothing_is_lost(&database, &mut admin);
        run(&mut early, &WAYS[0].replace("$n", "0"));
        assert_eq!(consume(&mut admin), [0], "{silence}");
    }
}

/// The same triggers once more: what was remembered before, and while nothing told, is not
/// believed.
#[test]
fn triggers_that_are_enabled_again_are_trusted_from_then_on() {
    let database = scratch_database();
    let mut admin = database.connect();
    run(&mut admin, QUEUE);
    let mut writer = database.connect();
    let mut number = 0;
    let mut write = |writer: &mut Client| {
        number += 1;
        run(writer, &WAYS[0].replace("$n", &number.to_string()));
        number
    };
    for state in ["disable", "enable always", "disable", "enable", "enable always"] {
        let first = write(&mut writer);
        run(&mut admin, &format!("alter table pgq.queue {state} trigger queue_changed"));
        let second = write(&mut writer);
        assert_eq!(consume(&mut admin), [first, second], "{state}");
        assert!(rotate(&mut admin).is_empty());
        let third = write(&mut writer);
        assert_eq!(consume(&mut admin), [third], "{state}");
    }
}

/// A subscription applies changes row by row, and fires no trigger that is for each statement.
#[test]
fn the_triggers_of_a_queue_fire_for_each_row_whoever_changes_it() {
    let database = scratch_database();
    let triggers = rows(
        &mut database.connect(),
        "select tgname, tgenabled, tgtype & 1, pg_get_triggerdef(oid) from pg_trigger
          where tgrelid = 'pgq.queue'::regclass and not tgisinternal order by 1",
    );
    assert_eq!(
        triggers,
        [
            "queue_changed|A|1|CREATE TRIGGER queue_changed AFTER INSERT OR DELETE OR UPDATE ON pgq.queue FOR EACH ROW \
             EXECUTE FUNCTION pgq._queue_changed()",
            "queue_emptied|A|0|CREATE TRIGGER queue_emptied AFTER TRUNCATE ON pgq.queue FOR EACH STATEMENT \
             EXECUTE FUNCTION pgq._queue_changed()"
        ]
    );
}

#[test]
fn a_library_that_was_replaced_under_the_server_serves_until_the_restart() {
    // Installed over: another file, so another library for the dynamic loader, beside the one that
    // the server has preloaded.
    let cluster = Cluster::builder().set("shared_preload_libraries", "pgq").start();
    let mut client = cluster.connect("postgres");
    let library =
        row(&mut client, "select setting || '/pgq.so' from pg_config where name = 'PKGLIBDIR'");
    let replaced = cluster.dir().join("pgq_lowlevel.so");
    std::fs::copy(library, &replaced).expect("copy the library");
    run(
        &mut client,
        &format!(
            "create extension pgq;
             create or replace function
                 pgq.insert_event(queue_name text, ev_type text, ev_data text)
                 returns bigint as '{}', 'pgq_insert_event3' language c",
            replaced.display()
        ),
    );
    run(&mut client, "select pgq.create_queue('q'), pgq.register_consumer('q', 'c')");
    run(&mut cluster.connect("postgres"), "select pgq.insert_event('q', 't', '7')");
    let arrived =
        wait_until(PATIENCE, || row(&mut client, "select pgq.next_batch('q', 'c')") != "∅");
    assert!(arrived, "no batch came");
}
