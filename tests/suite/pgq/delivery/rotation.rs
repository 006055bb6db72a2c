//! A transaction whose snapshot is older than a rotation.

use pgq_tests::{PATIENCE, scratch_database, wait_until};
use postgres::Client;

/// A REPEATABLE READ transaction takes its snapshot, the queue rotates, and only then the
/// transaction inserts.
fn insert_under_an_old_snapshot(prepare: &str, insert: &str) -> Vec<String> {
    let database = scratch_database();
    let mut admin = database.connect();
    admin
        .batch_execute(
            "select pgq.create_queue('q');
             update pgq.queue set queue_rotation_period = '0', queue_ticker_max_lag = '0',
                 queue_ticker_idle_period = '0';
             select pgq.register_consumer('q', 'c');",
        )
        .unwrap();
    admin.batch_execute(prepare).unwrap();
    let mut old = database.connect();
    old.batch_execute("begin isolation level repeatable read; select count(*) from pgq.queue")
        .unwrap();

    rotate(&mut admin);
    // The consumer is past the rotation: from here on only the new table is read.
    catch_up(&mut admin);

    old.batch_execute(insert).unwrap();
    old.batch_execute("commit").unwrap();
    let mut seen = Vec::new();
    wait_until(PATIENCE, || {
        seen.extend(catch_up(&mut admin));
        !seen.is_empty()
    });
    seen.extend(catch_up(&mut admin));
    seen
}

/// Rotate once. Transactions of other tests in the same server may be in the way for a while.
fn rotate(client: &mut Client) {
    let rotated = wait_until(PATIENCE, || {
        catch_up(client);
        client.batch_execute("select pgq.maint_rotate_tables_step1('q')").unwrap();
        client.query_one("select queue_cur_table = 1 from pgq.queue", &[]).unwrap().get(0)
    });
    assert!(rotated, "the queue did not rotate");
    client.batch_execute("select pgq.maint_rotate_tables_step2()").unwrap();
}

/// Tick twice and consume what there is.
fn catch_up(client: &mut Client) -> Vec<String> {
    let mut seen = Vec::new();
    for _ in 0..2 {
        client.batch_execute("select pgq.ticker('q')").unwrap();
        loop {
            let batch: Option<i64> =
                client.query_one("select pgq.next_batch('q', 'c')", &[]).unwrap().get(0);
            let Some(batch) = batch else { break };
            for row in
                client.query("select ev_data from pgq.get_batch_events($1)", &[&batch]).unwrap()
            {
                seen.push(row.get(0));
            }
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
    }
    seen
}

const INSERT: &str = "select pgq.insert_event('q', 't', 'late')";

#[test]
fn an_event_inserted_under_a_snapshot_older_than_a_rotation_is_delivered() {
    assert_eq!(insert_under_an_old_snapshot("", INSERT), ["late"]);
}

#[test]
fn so_is_one_that_goes_through_the_executor() {
    let check = "do $$ begin
        for n in 0..2 loop
            execute format('alter table pgq.event_1_%s add check (ev_id > 0)', n);
        end loop; end $$";
    assert_eq!(insert_under_an_old_snapshot(check, INSERT), ["late"]);
}

#[test]
fn so_is_one_written_into_current_event_table() {
    let copy = "do $$ begin execute format(
        'insert into %s (ev_time, ev_type, ev_data) values (now(), ''t'', ''late'')',
            pgq.current_event_table('q')); end $$";
    assert_eq!(insert_under_an_old_snapshot("", copy), ["late"]);
}
