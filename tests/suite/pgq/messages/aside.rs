//! What is put aside stays so: for the next holder of its batch, and however much it is.

use pgq_tests::query::{row, rows, run};
use pgq_tests::scratch_database;
use postgres::Client;

use super::{ack, drain, numbers, queue, receive, retry_now, send, tick};

/// Queue `q` with group `crew`, whose members are `one` and `two`.
fn crew() -> (pgq_tests::Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        "create extension pgq_coop; select pgq.create_queue('q');
         select pgq_coop.register_subconsumer('q', 'crew', m) from unnest('{one,two}'::text[]) m",
    );
    (database, client)
}

fn next(client: &mut Client, member: &str) -> String {
    row(client, &format!("select pgq_coop.next_batch('q', 'crew', '{member}', '0')"))
}

fn payloads(client: &mut Client, batch: &str) -> Vec<String> {
    rows(client, &format!("select ev_data from pgq.get_batch_events({batch}) order by ev_id"))
}

fn finish(client: &mut Client, batch: &str) {
    assert_eq!(row(client, &format!("select pgq_coop.finish_batch({batch})")), "1");
}

#[test]
fn who_takes_a_batch_over_does_not_get_what_was_put_aside() {
    let (database, mut client) = crew();
    send(&mut client, 0..3);
    tick(&mut client);
    let batch = next(&mut client, "one");
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 2)")), "retry");
    run(&mut client, "update pgq.retry_queue set ev_retry_after = now()");
    assert_eq!(row(&mut client, "select pgq.maint_retry_events()"), "1");

    let mut other = database.connect();
    let taken = next(&mut other, "two");
    assert_ne!(taken, batch);
    assert_eq!(payloads(&mut other, &taken), ["0", "2"]);
    let cursor = format!("select ev_data from pgq.get_batch_cursor({taken}, 'events', 10)");
    run(&mut other, "begin");
    assert_eq!(rows(&mut other, &cursor), ["0", "2"]);
    run(&mut other, "commit");
    // Nor can it put that aside once more.
    assert_eq!(row(&mut other, &format!("select pgq.nack({taken}, 2)")), "retry");
    assert_eq!(row(&mut other, "select count(*) from pgq.retry_queue"), "0");
    finish(&mut other, &taken);
    tick(&mut client);
    let batch = next(&mut other, "two");
    assert_eq!(payloads(&mut other, &batch), ["1"]);
    finish(&mut other, &batch);
}

#[test]
fn a_batch_that_goes_back_to_the_group_goes_without_what_was_put_aside() {
    let (_database, mut client) = crew();
    for has_followed in [false, true] {
        send(&mut client, 0..3);
        tick(&mut client);
        let batch = next(&mut client, "one");
        let second = format!(
            "select pgq.nack({batch}, ev_id, '1 hour') from pgq.get_batch_events({batch})
              where ev_data = '1'"
        );
        assert_eq!(row(&mut client, &second), "retry");
        if has_followed {
            send(&mut client, ["later"]);
            tick(&mut client);
            let later = row(&mut client, "select pgq_coop.next_batch('q', 'crew', 'two')");
            assert_eq!(payloads(&mut client, &later), ["later"]);
            finish(&mut client, &later);
        }
        run(&mut client, "select pgq_coop.unregister_subconsumer('q', 'crew', 'one', 1)");
        if has_followed {
            let waiting = "select ev_data, ev_retry from pgq.retry_queue order by ev_id";
            assert_eq!(rows(&mut client, waiting), ["0|∅", "1|1", "2|∅"]);
            run(&mut client, "select pgq.maint_retry_events()");
            tick(&mut client);
        }
        let batch = next(&mut client, "two");
        assert_eq!(payloads(&mut client, &batch), ["0", "2"], "{has_followed}");
        finish(&mut client, &batch);
        retry_now(&mut client);
        let batch = next(&mut client, "two");
        assert_eq!(payloads(&mut client, &batch), ["1"]);
        finish(&mut client, &batch);
        run(&mut client, "select pgq_coop.register_subconsumer('q', 'crew', 'one')");
    }
}

#[test]
fn what_a_page_notes_does_not_grow_with_what_is_put_aside() {
    let (_database, mut client) = queue();
    send(&mut client, 0..500);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 400);
    let aside = format!("select pgq.nack({batch}, id, '1 hour') from generate_series(1, 390) id");
    assert_eq!(rows(&mut client, &aside).len(), 390);
    assert_eq!(row(&mut client, "select pg_column_size(p) < 120 from pgq.page p"), "t");
    let (batch, page) = receive(&mut client, "c", 400);
    assert_eq!(page, numbers(390..400));
    ack(&mut client, batch);
    assert_eq!(drain(&mut client, "c", 400).1, numbers(400..500));
    retry_now(&mut client);
    assert_eq!(drain(&mut client, "c", 400).1, numbers(0..390));
    assert_eq!(row(&mut client, "select count(*) from pgq.aside"), "0", "it is of no use any more");
}

/// A snapshot from before a message was put aside must not have it come again.
#[test]
fn an_older_snapshot_gets_nothing_that_was_put_aside() {
    let (database, mut client) = queue();
    send(&mut client, 0..4);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 4);
    run(&mut client, &format!("select pgq.nack({batch}, 1)"));
    let mut old = database.connect();
    run(&mut old, "begin isolation level repeatable read; select 1");
    run(&mut client, &format!("select pgq.nack({batch}, 2)"));
    for call in [format!("nack({batch}, 2)"), format!("ack({batch})")] {
        run(&mut old, "savepoint s");
        let answer = pgq_tests::query::outcome(&mut old, &format!("select pgq.{call}"));
        assert!(answer.starts_with("ERROR 40001"), "{call}: {answer}");
        run(&mut old, "rollback to s");
    }
}

#[test]
fn what_is_moved_back_gets_all_again() {
    let (_database, mut client) = queue();
    send(&mut client, 0..3);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 3);
    run(&mut client, &format!("select pgq.nack({batch}, 2, '1 hour')"));
    run(&mut client, "select pgq.seek('q', 'c', 1)");
    assert_eq!(drain(&mut client, "c", 3).1, numbers(0..3));
}
