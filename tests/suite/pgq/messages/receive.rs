//! Receiving: pages, acknowledgements, who is refused.

use pgq_tests::query::{outcome, patient, row, rows, run};
use pgq_tests::{PATIENCE, scratch_database, wait_until};

use super::{ack, drain, numbers, open_batches, queue, receive, send, tick};

#[test]
fn a_batch_is_handed_out_in_pages_of_any_size() {
    let (database, mut client) = queue();
    run(
        &mut client,
        "select pgq.subscribe('q', c) from unnest(array['one', 'seven', 'hundred', 'more', 'huge']) c",
    );
    // Ids that are not in the order of the transactions, one of which is open across a tick.
    let mut other = database.connect();
    let mut long = database.connect();
    run(&mut long, "begin; select pgq.send('q', 't', '0')");
    send(&mut client, 1..100);
    run(&mut other, "begin; select pgq.send('q', 't', '100')");
    send(&mut client, 101..150);
    run(&mut other, "select pgq.send('q', 't', '150'); commit");
    tick(&mut client);
    send(&mut client, 151..170);
    run(&mut long, "select pgq.send('q', 't', '170'); commit");
    tick(&mut client);

    let mut expected = numbers(1..151);
    expected.push("0".to_owned());
    expected.extend(numbers(151..171));
    for (consumer, most, sizes) in [
        ("one", 1, vec![1; 171]),
        ("seven", 7, [vec![7; 21], vec![3, 7, 7, 7]].concat()),
        ("hundred", 100, vec![100, 50, 21]),
        ("more", 151, vec![150, 21]),
        ("huge", i32::MAX, vec![150, 21]),
    ] {
        assert_eq!(drain(&mut client, consumer, most), (sizes, expected.clone()), "{consumer}");
    }
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
}

#[test]
fn a_page_comes_again_until_it_is_acknowledged() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    let (first, page) = receive(&mut client, "c", 4);
    assert_eq!(page, numbers(0..4));
    // Of another size, it is another page; it is whose who received it last.
    let (second, page) = receive(&mut client, "c", 2);
    assert_eq!(page, numbers(0..2));
    let (third, page) = receive(&mut client, "c", 4);
    assert_eq!(page, numbers(0..4));
    for late in [first, second] {
        for call in [format!("ack({late})"), format!("ack({late}, 1)"), format!("nack({late}, 1)")]
        {
            assert_eq!(
                outcome(&mut client, &format!("select pgq.{call}")),
                format!("ERROR 42704: batch {late} is not open")
            );
        }
    }
    run(&mut client, "begin");
    ack(&mut client, third);
    assert_eq!(receive(&mut client, "c", 4).1, numbers(4..8));
    run(&mut client, "rollback");
    let (batch, page) = receive(&mut client, "c", 4);
    assert_eq!(page, numbers(0..4));
    ack(&mut client, batch);
    assert!(outcome(&mut client, &format!("select pgq.ack({batch})")).starts_with("ERROR 42704"));
    assert_eq!(drain(&mut client, "c", 4), (vec![4, 2], numbers(4..10)));
}

#[test]
fn messages_are_acknowledged_one_by_one_or_up_to_one() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    let (batch, _) = receive(&mut client, "c", 5);
    for (id, expected) in [
        (1, "1".to_owned()),
        (1, format!("ERROR 42704: message 1 is not in the open page of batch {batch}")),
        (2, "1".to_owned()),
        (6, format!("ERROR 42704: message 6 is not in the open page of batch {batch}")),
        (-5, format!("ERROR 42704: message -5 is not in the open page of batch {batch}")),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq.ack({batch}, {id})")), expected);
    }
    let (batch, page) = receive(&mut client, "c", 5);
    assert_eq!(page, numbers(2..7));
    // The last one of the page is the page.
    assert_eq!(row(&mut client, &format!("select pgq.ack({batch}, 7)")), "1");
    assert!(
        outcome(&mut client, &format!("select pgq.ack({batch}, 7)")).starts_with("ERROR 42704")
    );
    let (batch, page) = receive(&mut client, "c", 5);
    assert_eq!(page, numbers(7..10));
    assert_eq!(row(&mut client, &format!("select pgq.ack({batch}, 10)")), "1");
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
    assert_eq!(receive(&mut client, "c", 5), (0, vec![]));
}

#[test]
fn a_quiet_queue_leaves_nothing_open_and_is_passed_in_one_step() {
    let (_database, mut client) = queue();
    assert_eq!(receive(&mut client, "c", 5), (0, vec![]));
    for _ in 0..20 {
        tick(&mut client);
    }
    assert_eq!(receive(&mut client, "c", 5), (0, vec![]));
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
    let place = "select sub_last_tick = (select max(tick_id) from pgq.tick), xmin
                   from pgq.subscription";
    let there = row(&mut client, place);
    assert!(there.starts_with("t|"));
    assert_eq!(receive(&mut client, "c", 5), (0, vec![]));
    assert_eq!(row(&mut client, place), there, "where nothing is new, nothing is written");
    tick(&mut client);
    send(&mut client, 0..1);
    tick(&mut client);
    tick(&mut client);
    let (batch, page) = receive(&mut client, "c", 5);
    assert_eq!(page, ["0"]);
    ack(&mut client, batch);
    assert_eq!(row(&mut client, "select nextval('pgq.batch_id_seq')"), (batch + 1).to_string());
}

#[test]
fn both_surfaces_may_be_used_on_one_batch() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    // Opened there, received here.
    let opened = row(&mut client, "select pgq.next_batch('q', 'c')");
    assert_eq!(
        outcome(&mut client, &format!("select pgq.ack({opened})")),
        format!("ERROR 55000: no messages of batch {opened} have been received")
    );
    let (batch, _) = receive(&mut client, "c", 4);
    assert_ne!(batch.to_string(), opened, "the page is of who received it");
    assert_eq!(
        outcome(&mut client, &format!("select pgq.nack({opened}, 1)")),
        format!("ERROR 42704: batch {opened} is not open")
    );
    ack(&mut client, batch);
    // Received here, finished there: also while a page is out.
    let rest = row(&mut client, "select pgq.next_batch('q', 'c')");
    assert_eq!(
        row(&mut client, &format!("select count(*) from pgq.get_batch_events({rest})")),
        "10"
    );
    let (batch, page) = receive(&mut client, "c", 4);
    assert_eq!((rest, page), (opened, numbers(4..8)));
    for (call, expected) in
        [("get_batch_info", "q"), ("batch_event_tables", "pgq.event_1_0"), ("batch_retry", "10")]
    {
        let arguments = if call == "batch_retry" { ", 3600" } else { "" };
        let answer = row(
            &mut client,
            &format!("select * from pgq.{call}({batch}{arguments}) order by 1 limit 1"),
        );
        assert!(answer.starts_with(expected), "{call}: {answer}");
    }
    run(&mut client, "delete from pgq.retry_queue");
    assert_eq!(
        row(&mut client, &format!("select count(*) from pgq.get_batch_events({batch})")),
        "10"
    );
    assert_eq!(row(&mut client, &format!("select pgq.finish_batch({batch})")), "1");
    assert!(outcome(&mut client, &format!("select pgq.ack({batch})")).starts_with("ERROR 42704"));
    assert_eq!(receive(&mut client, "c", 4), (0, vec![]));
    // What is left of a page that was finished there does not count for the next batch.
    send(&mut client, 10..12);
    tick(&mut client);
    assert_eq!(drain(&mut client, "c", 100), (vec![2], numbers(10..12)));
    // A consumer that is moved gives its batch up.
    let first = row(&mut client, "select min(tick_id) from pgq.tick");
    receive(&mut client, "c", 4);
    run(&mut client, &format!("select pgq.register_consumer_at('q', 'c', {first})"));
    assert_eq!(drain(&mut client, "c", 100).1, numbers(0..12));
}

/// The subscription has an index on its batch; versions of it that cannot be removed, as some
/// transaction is open, are in the way of all who look at it.
#[test]
fn a_page_does_not_write_the_subscription() {
    let (_database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    receive(&mut client, "c", 2);
    let version = "select ctid, sub_batch from pgq.subscription";
    let opened = row(&mut client, version);
    let mut ids = Vec::new();
    for _ in 0..4 {
        receive(&mut client, "c", 2);
        let (batch, _) = receive(&mut client, "c", 2);
        ids.push(batch);
        ack(&mut client, batch);
        assert_eq!(row(&mut client, version), opened);
    }
    ids.dedup();
    assert_eq!(ids.len(), 4, "each page has an id of its own");
    assert_eq!(row(&mut client, "select count(*) from pgq.page"), "1");
    // That it lives is noted all the same.
    run(&mut client, "update pgq.subscription set sub_active = now() - interval '1 minute'");
    receive(&mut client, "c", 2);
    assert_eq!(
        row(&mut client, "select now() - sub_active < interval '1 minute' from pgq.subscription"),
        "t"
    );
}

/// Under a snapshot older than the page it is refused as others are, to be tried again.
#[test]
fn an_old_snapshot_takes_no_page_away() {
    let (database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    run(&mut client, "select pgq.next_batch('q', 'c')");
    let repeat = "begin isolation level repeatable read; select count(*) from pgq.page";
    let mut old = database.connect();
    run(&mut old, repeat);
    let (first, _) = receive(&mut client, "c", 4);
    let receive_call = "select * from pgq.receive('q', 'c')";
    assert!(outcome(&mut old, receive_call).starts_with("ERROR 40001"));
    for (page, call) in [(4, "ack"), (10, "finish_batch")] {
        let (late, _) = receive(&mut client, "c", page);
        run(&mut old, "rollback");
        run(&mut old, repeat);
        receive(&mut client, "c", 4);
        let answer = outcome(&mut old, &format!("select pgq.{call}({late})"));
        assert!(answer.starts_with("ERROR 40001"), "{call}: {answer}");
    }
    run(&mut old, "rollback");
    assert_eq!(row(&mut client, &format!("select pgq.finish_batch({first})")), "0");
    assert_eq!(drain(&mut client, "c", 4).1, numbers(0..10));
}

#[test]
fn each_page_may_come_from_another_session() {
    let (database, mut client) = queue();
    send(&mut client, 0..1000);
    tick(&mut client);
    // As a pooler in transaction mode gives them.
    let mut sessions: Vec<_> = (0..3).map(|_| database.connect()).collect();
    let mut got = Vec::new();
    for turn in 0.. {
        let session = &mut sessions[turn % 3];
        let (batch, page) = receive(session, "c", 30);
        if page.is_empty() {
            break;
        }
        got.extend(page);
        ack(&mut sessions[(turn + 1) % 3], batch);
    }
    assert_eq!(got, numbers(0..1000));
}

/// Pages are cut from what a session has seen of a batch once; what it has seen may have moved.
#[test]
fn pages_go_on_when_rows_are_moved_between_them() {
    let (_database, mut client) = queue();
    for n in 0..50 {
        send(&mut client, [n]);
    }
    run(
        &mut client,
        "select pgq.insert_event_raw('q', 25, null, null, null, 't', '24', null, null, null, null)",
    );
    tick(&mut client);
    let mut got = Vec::new();
    for change in [
        "delete from pgq.event_1_0 where ev_id = 12",
        "vacuum full pgq.event_1_0",
        "update pgq.event_1_0 set ev_type = 'u'",
        "vacuum pgq.event_1_0",
        "alter table pgq.event_1_0 add column surplus int",
        "alter table pgq.event_1_0 drop column surplus",
    ] {
        let (batch, page) = receive(&mut client, "c", 6);
        got.extend(page);
        run(&mut client, change);
        ack(&mut client, batch);
    }
    got.extend(drain(&mut client, "c", 6).1);
    let mut expected = numbers(0..50);
    expected.retain(|n| n != "11");
    expected.insert(24, "24".to_owned());
    assert_eq!(got, expected);
}

#[test]
fn pages_go_on_when_the_end_of_a_table_is_cut_off() {
    let (_database, mut client) = queue();
    send(&mut client, (0..4000).map(|n| format!("{n:0>100}")));
    tick(&mut client);
    let (batch, page) = receive(&mut client, "c", 10);
    assert_eq!(page.len(), 10);
    let blocks = "select pg_relation_size('pgq.event_1_0') / 8192";
    let before: u32 = row(&mut client, blocks).parse().unwrap();
    // To be cut off they must be dead to all.
    run(&mut client, "delete from pgq.event_1_0 where ev_id > 15");
    let is_shorter = wait_until(PATIENCE, || {
        run(&mut client, "vacuum pgq.event_1_0");
        row(&mut client, blocks).parse::<u32>().unwrap() < before
    });
    assert!(is_shorter);
    ack(&mut client, batch);
    assert_eq!(drain(&mut client, "c", 4000).0, [5]);
}

#[test]
fn an_event_table_of_another_shape_is_read_all_the_same() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "alter table pgq.event_1_0 add column surplus int;
         select pgq.subscribe('q', c) from unnest(array['one', 'many']) c",
    );
    send(&mut client, 0..20);
    run(
        &mut client,
        "select pgq.insert_event_raw('q', 7, null, null, null, 't', '6', null, null, null, null)",
    );
    tick(&mut client);
    let mut expected = numbers(0..20);
    expected.insert(6, "6".to_owned());
    assert_eq!(drain(&mut client, "one", 1).1, expected);
    assert_eq!(drain(&mut client, "many", 100), (vec![21], expected.clone()));
    let (sizes, got) = drain(&mut client, "c", 7);
    assert_eq!((sizes, got), (vec![8, 7, 6], expected));
}

#[test]
fn a_second_receiver_waits_and_then_gets_what_is_left() {
    let (database, mut client) = queue();
    send(&mut client, 0..10);
    tick(&mut client);
    run(&mut client, "begin");
    let (batch, _) = receive(&mut client, "c", 4);
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut session = patient(database.connect());
            receive(&mut session, "c", 4)
        });
        let waits = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event_type = 'Lock'";
        assert!(wait_until(PATIENCE, || row(&mut database.connect(), waits) == "1"));
        ack(&mut client, batch);
        run(&mut client, "commit");
        second.join().unwrap()
    });
    assert_eq!(second.1, numbers(4..8));
}

#[test]
fn a_consumer_begins_where_it_is_told_to() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q')");
    for n in 0..4 {
        send(&mut client, [n]);
        tick(&mut client);
        run(
            &mut client,
            "update pgq.tick set tick_time = '2020-01-01'::timestamptz + tick_id * interval '1 day'",
        );
    }
    // Tick 1 is of January 2nd.
    for (consumer, start, payloads) in [
        ("now", "null", 4..4),
        ("all", "'-infinity'", 0..4),
        ("before all", "'2019-01-01'", 0..4),
        ("between", "'2020-01-03 12:00'", 1..4),
        ("at a tick", "'2020-01-04'", 2..4),
        ("future", "'infinity'", 4..4),
    ] {
        let subscribe = format!("select pgq.subscribe('q', '{consumer}', {start})");
        assert_eq!(row(&mut client, &subscribe), "1");
        assert_eq!(drain(&mut client, consumer, 100).1, numbers(payloads), "{consumer}");
        // Who is subscribed stays.
        let again = format!("select pgq.subscribe('q', '{consumer}', '-infinity')");
        assert_eq!(row(&mut client, &again), "0");
        assert_eq!(drain(&mut client, consumer, 100).1, Vec::<String>::new());
    }
    assert_eq!(row(&mut client, "select pgq.unsubscribe('q', 'now')"), "1");
    assert_eq!(row(&mut client, "select pgq.unsubscribe('q', 'now')"), "0");
    assert_eq!(
        rows(&mut client, "select page_consumer from pgq.page where page_consumer = 1").len(),
        0
    );
}
