//! Messages that are not processed: they come again, later and later, and then no more.

use pgq_tests::query::{outcome, row, rows, run};

use super::{ack, drain, numbers, open_batches, queue, receive, retry_now, send, tick};

#[test]
fn a_message_that_is_put_aside_comes_again_and_stops_nobody() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.subscribe('q', 'other')");
    send(&mut client, 0..10);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 4);
    let nack = format!("select pgq.nack({batch}, 2)");
    assert_eq!(row(&mut client, &nack), "retry");
    assert_eq!(row(&mut client, &nack), "retry", "once more changes nothing");
    // It is out of the way, also when the page comes again, and when it has come back meanwhile.
    run(&mut client, "update pgq.retry_queue set ev_retry_after = now()");
    assert_eq!(row(&mut client, "select pgq.maint_retry_events()"), "1");
    let (batch, page) = receive(&mut client, "c", 4);
    assert_eq!(page, ["0", "2", "3"]);
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 2)")), "retry");
    assert_eq!(row(&mut client, "select count(*) from pgq.retry_queue"), "0");
    ack(&mut client, batch);
    assert_eq!(drain(&mut client, "c", 4).1, numbers(4..10));
    tick(&mut client);
    let again = "select msg_id, payload, retry_count from pgq.receive('q', 'c')";
    assert_eq!(rows(&mut client, again), ["2|1|1"]);
    assert_eq!(drain(&mut client, "c", 4).1, ["1"]);
    assert_eq!(drain(&mut client, "other", 4).1, numbers(0..10), "it is nobody else's");
}

#[test]
fn a_page_that_is_put_aside_whole_is_passed() {
    let (_database, mut client) = queue();
    send(&mut client, 0..5);
    tick(&mut client);
    for _ in 0..2 {
        let (batch, page) = receive(&mut client, "c", 2);
        for id in page.iter().map(|payload| payload.parse::<i64>().unwrap() + 1) {
            assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, {id})")), "retry");
        }
    }
    let (batch, page) = receive(&mut client, "c", 2);
    assert_eq!(page, ["4"]);
    run(&mut client, &format!("select pgq.nack({batch}, 5)"));
    assert_eq!(receive(&mut client, "c", 2), (0, vec![]));
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
    retry_now(&mut client);
    assert_eq!(drain(&mut client, "c", 2), (vec![2, 2, 1], numbers(0..5)));
}

#[test]
fn it_waits_longer_each_time_and_then_is_a_dead_letter_once() {
    let (_database, mut client) = queue();
    for (name, value) in [("max_retries", "3"), ("retry_base", "1 min"), ("retry_max", "3 min")] {
        run(&mut client, &format!("select pgq.set_queue_config('q', '{name}', '{value}')"));
    }
    send(&mut client, ["poison"]);
    tick(&mut client);
    for (retries, most) in [(0, "1 min"), (1, "2 min"), (2, "3 min")] {
        let (batch, _) = receive(&mut client, "c", 2);
        // Due times are counted from the transaction's begin.
        run(&mut client, "begin");
        assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 1)")), "retry");
        let due = format!(
            "select ev_retry, ev_retry_after - now() between interval '{most}' / 2 and '{most}'
               from pgq.retry_queue"
        );
        assert_eq!(row(&mut client, &due), format!("{}|t", retries + 1));
        run(&mut client, "commit");
        ack(&mut client, batch);
        retry_now(&mut client);
    }
    let (batch, _) = receive(&mut client, "c", 2);
    let nack = format!("select pgq.nack({batch}, 1, reason => 'no luck')");
    for _ in 0..3 {
        assert_eq!(row(&mut client, &nack), "dead");
    }
    assert_eq!(receive(&mut client, "c", 2), (0, vec![]));
    assert_eq!(
        rows(
            &mut client,
            "select consumer_name, msg_id, type, payload, retry_count, reason, times,
                    first_failed = last_failed, created_at < last_failed
               from pgq.dead_letters('q')"
        ),
        ["c|1|t|poison|3|no luck|1|t|t"]
    );
}

/// Doubled thirty times, a wait of days is no interval any more.
#[test]
fn a_long_wait_ends_at_the_longest() {
    let (_database, mut client) = queue();
    for (wait, expected) in [
        ("'1 year', '2 years', 40", "2 years"),
        ("'1 second', '1 hour', 1000000", "01:00:00"),
        ("'1 min', '3 min', 1", "00:02:00"),
        ("'1 min', '3 min', 2", "00:03:00"),
        ("'1 hour', '1 min', 0", "00:01:00"),
        ("'0', '1 min', 7", "00:00:00"),
    ] {
        assert_eq!(row(&mut client, &format!("select pgq._retry_wait({wait})")), expected);
    }
}

/// Put aside before any page was given, it stays out of all pages that follow.
#[test]
fn a_message_put_aside_beyond_the_page_stays_out_of_the_batch() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    let batch = row(&mut client, "select pgq.next_batch('q', 'c')");
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 8)")), "retry");
    let mut expected = numbers(0..10);
    expected.retain(|n| n != "7");
    assert_eq!(drain(&mut client, "c", 3).1, expected);
    retry_now(&mut client);
    assert_eq!(drain(&mut client, "c", 3).1, ["7"]);
}

#[test]
fn what_is_put_aside_stays_so_while_others_are_acknowledged() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 8);
    run(&mut client, &format!("select pgq.nack({batch}, id) from unnest(array[2, 3, 6]) id"));
    run(&mut client, &format!("select pgq.ack({batch}, 4)"));
    let (batch, page) = receive(&mut client, "c", 4);
    assert_eq!(page, ["4", "6", "7"]);
    ack(&mut client, batch);
    assert_eq!(drain(&mut client, "c", 4).1, ["8", "9"]);
}

#[test]
fn when_it_comes_again_can_be_said() {
    let (_database, mut client) = queue();
    send(&mut client, 0..2);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 2);
    run(&mut client, "begin");
    run(&mut client, &format!("select pgq.nack({batch}, 1, '1 hour'), pgq.nack({batch}, 2, '0')"));
    assert_eq!(
        rows(&mut client, "select ev_id, ev_retry_after - now() from pgq.retry_queue order by 1"),
        ["1|01:00:00", "2|00:00:00"]
    );
    run(&mut client, "commit");
}

#[test]
fn what_cannot_be_put_aside_is_refused() {
    let (_database, mut client) = queue();
    send(&mut client, 0..5);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 3);
    run(&mut client, &format!("select pgq.ack({batch}, 1)"));
    for (call, error) in [
        ("nack(null, 1)".to_owned(), "ERROR 22004: batch_id must not be NULL".to_owned()),
        (format!("nack({batch}, null)"), "ERROR 22004: msg_id must not be NULL".to_owned()),
        (
            format!("nack({batch}, 1)"),
            format!("ERROR 42704: message 1 is not in the open page of batch {batch}"),
        ),
        (
            format!("nack({batch}, 4)"),
            format!("ERROR 42704: message 4 is not in the open page of batch {batch}"),
        ),
        (
            format!("nack({batch}, 2, '-1 s')"),
            "ERROR 22023: retry_after must not be negative: -00:00:01".to_owned(),
        ),
        ("nack(99, 1)".to_owned(), "ERROR 42704: batch 99 is not open".to_owned()),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq.{call}")), error, "{call}");
    }
    assert_eq!(row(&mut client, "select count(*) from pgq.retry_queue"), "0");
}

/// A batch of PgQ's own calls has no pages, but its messages can be put aside all the same.
#[test]
fn a_message_of_next_batch_can_be_put_aside() {
    let (_database, mut client) = queue();
    send(&mut client, 0..3);
    tick(&mut client);
    let batch = row(&mut client, "select pgq.next_batch('q', 'c')");
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 2)")), "retry");
    assert_eq!(
        outcome(&mut client, &format!("select pgq.nack({batch}, 9)")),
        format!("ERROR 42704: message 9 is not in batch {batch}")
    );
    assert_eq!(drain(&mut client, "c", 10).1, ["0", "2"]);
    retry_now(&mut client);
    assert_eq!(drain(&mut client, "c", 10).1, ["1"]);
}

/// What a member of a cooperative group puts aside comes to the group again, or is its dead letter.
#[test]
fn a_member_of_a_group_puts_messages_aside_for_the_group() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "create extension pgq_coop; select pgq_coop.register_subconsumer('q', 'crew', 'one')",
    );
    send(&mut client, 0..3);
    tick(&mut client);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'crew', 'one')");
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 2)")), "retry");
    run(&mut client, &format!("select pgq_coop.finish_batch({batch})"));
    run(&mut client, "select pgq.set_queue_config('q', 'max_retries', '1')");
    retry_now(&mut client);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'crew', 'one')");
    assert_eq!(row(&mut client, &format!("select pgq.nack({batch}, 2)")), "dead");
    run(&mut client, &format!("select pgq_coop.finish_batch({batch})"));
    assert_eq!(
        rows(&mut client, "select consumer_name, msg_id from pgq.dead_letters('q')"),
        ["crew|2"]
    );
    // Its batches are the group's to give, also when it has one of which all is put aside.
    let refused = "ERROR 55000: consumer \"crew.one\" is a member of a cooperative group";
    let receive = "select payload from pgq.receive('q', 'crew.one')";
    assert_eq!(outcome(&mut client, receive), refused);
    send(&mut client, 3..4);
    tick(&mut client);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'crew', 'one')");
    run(
        &mut client,
        &format!("select pgq.nack({batch}, ev_id) from pgq.get_batch_events({batch})"),
    );
    send(&mut client, 4..5);
    tick(&mut client);
    assert_eq!(outcome(&mut client, receive), refused);
}
