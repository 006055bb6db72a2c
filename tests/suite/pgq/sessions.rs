//! What a session keeps in memory.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

/// Queues that a session works on in turn.
const QUEUES: i32 = 8;
/// Rounds until everything that is kept has been made, and rounds after that.
const ROUNDS: i32 = 5;

fn queues() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    for number in 1..=QUEUES {
        run(&mut client, &format!("select pgq.create_queue('q{number}')"));
        run(&mut client, &format!("select pgq.register_consumer('q{number}', 'c')"));
    }
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    (database, client)
}

/// Statements that the session holds in memory; none where the server does not tell.
fn kept(client: &mut Client) -> Option<Vec<String>> {
    let is_told = row(client, "select to_regclass('pg_catalog.pg_backend_memory_contexts')");
    let kept = "select name, count(*) from pg_catalog.pg_backend_memory_contexts
                 where name in ('SPI Plan', 'CachedPlanSource')
                 group by 1 order by 1";
    (is_told != "∅").then(|| rows(client, kept))
}

/// The same work again and again leaves nothing more in memory.
fn holds_no_more_after_more_of(client: &mut Client, mut work: impl FnMut(&mut Client)) {
    (0..ROUNDS).for_each(|_| work(client));
    let before = kept(client);
    (0..3 * ROUNDS).for_each(|_| work(client));
    assert_eq!(kept(client), before);
}

/// An event through every queue.
fn deliver(client: &mut Client) {
    for number in 1..=QUEUES {
        let queue = format!("q{number}");
        run(client, &format!("select pgq.insert_event('{queue}', 't', 'd')"));
        run(client, &format!("select pgq.ticker('{queue}')"));
        // Empty batches may come before.
        let mut delivered = Vec::new();
        while delivered.is_empty() {
            let batch = row(client, &format!("select pgq.next_batch('{queue}', 'c')"));
            let events = format!("select ev_data from pgq.get_batch_events({batch})");
            delivered = rows(client, &events);
            assert_eq!(rows(client, &events), delivered);
            run(client, &format!("select pgq.get_batch_info({batch})"));
            run(client, &format!("select pgq.finish_batch({batch})"));
        }
        assert_eq!(delivered, ["d"]);
    }
}

/// Run it for each table of events.
fn with_each_table(client: &mut Client, sql: &str) {
    let tables = "select inhrelid::regclass::text from pg_inherits i
                   join pg_class c on c.oid = inhrelid
                  where relname ~ '^event_[0-9]+_[0-9]+$' order by 1";
    for table in rows(client, tables) {
        run(client, &sql.replace("TABLE", &table));
    }
}

#[test]
fn a_session_that_works_on_many_queues_and_batches_does_not_grow() {
    let (_database, mut client) = queues();
    holds_no_more_after_more_of(&mut client, deliver);
}

#[test]
fn nor_does_one_whose_event_tables_only_the_planner_can_write_and_read() {
    let (_database, mut client) = queues();
    with_each_table(&mut client, "alter table TABLE add check (ev_id > 0), add more integer");
    holds_no_more_after_more_of(&mut client, deliver);
}

#[test]
fn nor_does_one_whose_statements_fail() {
    let (database, mut client) = queues();
    with_each_table(
        &mut client,
        "alter table TABLE add check (ev_type <> 'bad'), add more integer",
    );
    run(&mut client, "select pgq.insert_event('q1', 't', 'd'); select pgq.ticker('q1')");
    let batch = row(&mut client, "select pgq.next_batch('q1', 'c')");
    let reader = format!("{}_reader", database.name());
    run(&mut client, &format!("create role {reader} in role pgq_reader"));
    with_each_table(&mut client, "revoke select on TABLE from public, pgq_reader, pgq_admin");
    holds_no_more_after_more_of(&mut client, |client| {
        let inserted = outcome(client, "select pgq.insert_event('q1', 'bad', 'd')");
        assert!(inserted.starts_with("ERROR 23514"), "{inserted}");
        run(client, &format!("set role {reader}"));
        let read = outcome(client, &format!("select * from pgq.get_batch_events({batch})"));
        assert!(read.starts_with("ERROR 42501"), "{read}");
        run(client, "reset role");
    });
}

#[test]
fn nor_does_one_whose_triggers_fail_and_are_made_anew() {
    let (_database, mut client) = queues();
    run(
        &mut client,
        "create table t (id integer primary key, data text);
         create trigger log after insert on t for each row
             execute function pgq.jsontriga('q1', 'ev_extra1=1/(id-1)', 'when=id>0')",
    );
    let mut number = 10;
    holds_no_more_after_more_of(&mut client, |client| {
        number += 1;
        // What is known of the trigger's table is out of date with this.
        run(client, &format!("alter table t set (fillfactor = {number})"));
        let inserted = outcome(client, "insert into t values (1, 'fails')");
        assert!(inserted.starts_with("ERROR 22012"), "{inserted}");
        run(client, &format!("insert into t values ({number}, 'goes through')"));
    });
}
