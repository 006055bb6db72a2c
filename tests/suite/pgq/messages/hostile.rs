//! What callers should not do, and must not break anything by.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{PATIENCE, scratch_database, wait_until};

use super::{ack, drain, numbers, open_batches, queue, receive, send, tick};

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let (_database, mut client) = queue();
    for (call, error) in [
        ("receive('q', 'c', 0)", "ERROR 22023: max_return must be at least 1, not 0"),
        ("receive('q', 'c', -3)", "ERROR 22023: max_return must be at least 1, not -3"),
        ("receive('q', 'c', null)", "ERROR 22004: max_return must be at least 1, not NULL"),
        ("receive('q', 'x')", "ERROR 42704: Not subscriber to queue: q/x"),
        ("receive('x', 'c')", "ERROR 42704: Not subscriber to queue: x/c"),
        ("receive(null, null)", "ERROR 42704: Not subscriber to queue: NULL/NULL"),
        ("subscribe('x', 'c')", "ERROR 42704: Event queue not created yet"),
        ("subscribe(null, 'c')", "ERROR 42704: Event queue not created yet"),
        ("ack(null)", "ERROR 22004: batch_id must not be NULL"),
        ("ack(1, null)", "ERROR 22004: msg_id must not be NULL"),
        ("ack(1)", "ERROR 42704: batch 1 is not open"),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq.{call}")), error, "{call}");
    }
    assert!(outcome(&mut client, "select pgq.subscribe('q', null)").starts_with("ERROR 23502"));
}

/// Headers of PgQ's own producers are anything; a message that cannot be read would stop its queue.
#[test]
fn headers_that_are_no_json_are_a_string() {
    let (_database, mut client) = queue();
    for extra2 in ["{\"a\": 1}", "id=1&b=%20", "", "[1]", "{\"u\": \"\\u0000\"}", "{"] {
        client
            .execute("select pgq.insert_event('q', 't', 'd', null, $1, null, null)", &[&extra2])
            .unwrap();
    }
    let deep = "[".repeat(100_000);
    client
        .execute("select pgq.insert_event('q', 't', 'd', null, $1, null, null)", &[&deep])
        .unwrap();
    tick(&mut client);
    assert_eq!(
        rows(&mut client, "select left(headers::text, 30) from pgq.receive('q', 'c')"),
        [
            "{\"a\": 1}",
            "\"id=1&b=%20\"",
            "\"\"",
            "[1]",
            "\"{\\\"u\\\": \\\"\\\\u0000\\\"}\"",
            "\"{\"",
            &format!("\"{}", "[".repeat(29))
        ]
    );
}

#[test]
fn names_may_be_of_any_characters() {
    let database = scratch_database();
    let mut client = database.connect();
    let (queue, consumer, dead) = ("q'\"; --\\ %s", "c'\"%I", "d'\"");
    for call in ["create_queue($1)", "create_queue($2)"] {
        client
            .execute(
                &format!("select pgq.{call} from (values ($1::text, $2::text)) v"),
                &[&queue, &dead],
            )
            .unwrap();
    }
    client.execute("select pgq.subscribe($1, $2)", &[&queue, &consumer]).unwrap();
    client.execute("select pgq.set_queue_config($1, 'max_retries', '0')", &[&queue]).unwrap();
    client
        .execute("select pgq.set_queue_config($1, 'dead_letter_queue', $2)", &[&queue, &dead])
        .unwrap();
    client.execute("select pgq.send($1, 't', 'x', $2)", &[&queue, &consumer]).unwrap();
    client.execute("select pgq.force_tick($1)", &[&queue]).unwrap();
    client.execute("select pgq.ticker($1)", &[&queue]).unwrap();
    let got = client
        .query_one("select batch_id, key from pgq.receive($1, $2)", &[&queue, &consumer])
        .unwrap();
    assert_eq!(got.get::<_, String>(1), consumer);
    client.execute("select pgq.nack($1, 1)", &[&got.get::<_, i64>(0)]).unwrap();
    let letter = client
        .query_one(
            "select ev_extra1::jsonb ->> 'queue', ev_extra1::jsonb ->> 'consumer' from pgq.event_2",
            &[],
        )
        .unwrap();
    assert_eq!(
        (letter.get::<_, String>(0), letter.get::<_, String>(1)),
        (queue.to_owned(), consumer.to_owned())
    );
    client.execute("select pgq.ack($1)", &[&got.get::<_, i64>(0)]).unwrap();
    client.execute("select pgq.unsubscribe($1, $2)", &[&queue, &consumer]).unwrap();
}

#[test]
fn a_call_that_is_cancelled_leaves_nothing_half_done() {
    let (database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 4);
    for call in [
        "count(*) from pgq.receive('q', 'c', 4)".to_owned(),
        format!("pgq.ack({batch})"),
        format!("pgq.nack({batch}, 2)"),
    ] {
        run(&mut client, "begin; select 1 from pgq.subscription for update");
        let mut other = database.connect();
        let pid = row(&mut other, "select pg_backend_pid()");
        let answer = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| outcome(&mut other, &format!("select {call}")));
            let waits = format!(
                "select count(*) from pg_stat_activity where pid = {pid} and wait_event_type = 'Lock'"
            );
            let mut watcher = database.connect();
            assert!(wait_until(PATIENCE, || row(&mut watcher, &waits) == "1"));
            run(&mut watcher, &format!("select pg_cancel_backend({pid})"));
            waiting.join().unwrap()
        });
        assert!(answer.starts_with("ERROR 57014"), "{call}: {answer}");
        run(&mut client, "rollback");
        // The session goes on.
        assert_eq!(row(&mut other, "select count(*) from pgq.page"), "1");
    }
    ack(&mut client, batch);
    assert_eq!(drain(&mut client, "c", 4).1, numbers(4..10));
    assert_eq!(row(&mut client, "select count(*) from pgq.retry_queue"), "0");
}

#[test]
fn repeatable_read_sees_whole_batches_or_none() {
    let (database, mut client) = queue();
    let mut old = database.connect();
    run(&mut old, "begin isolation level repeatable read; select 1");
    send(&mut client, 0..10);
    tick(&mut client);
    assert_eq!(receive(&mut old, "c", 4), (0, vec![]), "its snapshot is older than the tick");
    run(&mut old, "commit; begin isolation level repeatable read");
    let (batch, page) = receive(&mut old, "c", 4);
    assert_eq!(page, numbers(0..4));
    ack(&mut old, batch);
    run(&mut old, "commit");
    assert_eq!(drain(&mut client, "c", 4).1, numbers(4..10));
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
}
