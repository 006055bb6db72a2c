//! Keys in order, with many workers: who has which slots, and what happens when that changes.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

use super::{ack, retry_now, tick};

/// A database with queue `q` and its consumer `c`, which has slots.
fn slotted(slots: u32) -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        &format!("select pgq.create_queue('q'), pgq.subscribe('q', 'c', slots => {slots})"),
    );
    (database, client)
}

/// Send messages `KEY:N` with these keys; `-` is none.
fn send_keys(client: &mut Client, keys: &[&str]) {
    for (n, key) in keys.iter().enumerate() {
        let (key, payload) = ((*key != "-").then_some(*key), format!("{key}:{n}"));
        client
            .execute("select pgq.send('q', 't', $1::text, key => $2)", &[&payload, &key])
            .unwrap();
    }
}

/// What a worker gets: batch, and payloads.
fn work(client: &mut Client, worker: &str, most: i32) -> (i64, Vec<String>) {
    let found = client
        .query(
            "select batch_id, payload from pgq.receive('q', 'c', $1, worker => $2)",
            &[&most, &worker],
        )
        .unwrap();
    let batch = found.first().map_or(0, |row| row.get(0));
    assert!(found.iter().all(|row| row.get::<_, i64>(0) == batch));
    (batch, found.iter().map(|row| row.get(1)).collect())
}

/// Receive and acknowledge everything that a worker gets.
fn work_off(client: &mut Client, worker: &str) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        let (batch, page) = work(client, worker, 2);
        if page.is_empty() {
            return done;
        }
        done.extend(page);
        ack(client, batch);
    }
}

/// How many slots each worker has.
fn shares(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select coalesce(worker, '-'), count(*) from pgq.slots('q', 'c') group by 1 order by 1",
    )
}

/// Have the lease of a worker run out.
fn expire(client: &mut Client, worker: &str) {
    let sql = format!(
        "update pgq.slot_worker set worker_until = now() - interval '1 s'
          where worker_name = '{worker}'"
    );
    run(client, &sql);
}

#[test]
fn messages_of_a_key_are_with_one_worker_in_order() {
    let (_database, mut client) = slotted(4);
    // Both come before there is anything.
    assert_eq!(work(&mut client, "a", 10).1, Vec::<String>::new());
    assert_eq!(work(&mut client, "b", 10).1, Vec::<String>::new());
    work(&mut client, "a", 10);
    work(&mut client, "b", 10);
    assert_eq!(shares(&mut client), ["a|2", "b|2"]);
    let keys: Vec<String> = (0..60).map(|n| format!("k{}", n % 12)).collect();
    send_keys(&mut client, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    tick(&mut client);
    let (one, other) = (work_off(&mut client, "a"), work_off(&mut client, "b"));
    assert_eq!(one.len() + other.len(), 60);
    for key in 0..12 {
        let key = format!("k{key}:");
        let of = |done: &[String]| -> Vec<u32> {
            let numbers = done.iter().filter_map(|payload| payload.strip_prefix(key.as_str()));
            numbers.map(|n| n.parse().unwrap()).collect()
        };
        let (first, second) = (of(&one), of(&other));
        assert!(first.is_empty() || second.is_empty(), "{key} {first:?} {second:?}");
        assert_eq!(first.len() + second.len(), 5);
        assert!(first.is_sorted() && second.is_sorted(), "{key} {first:?} {second:?}");
    }
    assert!(!one.is_empty() && !other.is_empty());
    assert_eq!(
        row(&mut client, "select count(*) from pgq.subscription where sub_batch is not null"),
        "0"
    );
}

#[test]
fn messages_without_key_are_spread_evenly() {
    let (_database, mut client) = slotted(4);
    send_keys(&mut client, &["-"; 40]);
    tick(&mut client);
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let (batch, page) = work(&mut client, "a", 100);
        sizes.push(page.len());
        ack(&mut client, batch);
    }
    assert_eq!(sizes, [10, 10, 10, 10]);
    assert_eq!(work(&mut client, "a", 100).1, Vec::<String>::new());
}

#[test]
fn slots_are_divided_and_taken_over() {
    let (_database, mut client) = slotted(8);
    work(&mut client, "a", 10);
    assert_eq!(shares(&mut client), ["a|8"]);
    // A newcomer gets its part as soon as the other gives it up.
    work(&mut client, "b", 10);
    assert_eq!(shares(&mut client), ["a|8"]);
    work(&mut client, "a", 10);
    assert_eq!(shares(&mut client), ["-|4", "a|4"]);
    work(&mut client, "b", 10);
    assert_eq!(shares(&mut client), ["a|4", "b|4"]);
    work(&mut client, "c", 10);
    for worker in ["a", "b", "c"] {
        work(&mut client, worker, 10);
    }
    assert_eq!(shares(&mut client), ["a|3", "b|3", "c|2"]);

    // What a worker has received it keeps, however many come.
    send_keys(&mut client, &["-"; 8]);
    tick(&mut client);
    let (batch, page) = work(&mut client, "a", 10);
    assert_eq!(page.len(), 1);
    for _ in 0..2 {
        for n in 0..12 {
            work(&mut client, &format!("late {n}"), 10);
        }
    }
    // The worker's own session sees it again, under a new id.
    let (again, same) = work(&mut client, "a", 10);
    assert_eq!(same, page);
    assert!(again > batch);
    let answer = outcome(&mut client, &format!("select pgq.ack({batch})"));
    assert!(answer.starts_with("ERROR 42704: batch"), "{answer}");
    let others = "select count(*) from pgq.slots('q', 'c') where worker = 'a'";
    assert_eq!(row(&mut client, others), "1", "one each, and one for the first eight");

    // Not before its lease is over.
    expire(&mut client, "a");
    run(&mut client, "delete from pgq.slot_worker where worker_name like 'late%'");
    let mut taken = Vec::new();
    for _ in 0..8 {
        let (batch, page) = work(&mut client, "b", 10);
        taken.extend(page);
        if batch != 0 {
            ack(&mut client, batch);
        }
    }
    for _ in 0..8 {
        let (batch, page) = work(&mut client, "c", 10);
        taken.extend(page);
        if batch != 0 {
            ack(&mut client, batch);
        }
    }
    assert!(taken.contains(&page[0]), "{taken:?} {page:?}");
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 8, "all, each once");
    let answer = outcome(&mut client, &format!("select pgq.ack({again})"));
    assert!(answer.starts_with("ERROR 42704: batch"), "{answer}");
    let answer = outcome(&mut client, &format!("select pgq.nack({again}, 1)"));
    assert!(answer.starts_with("ERROR 42704: batch"), "{answer}");
}

#[test]
fn who_comes_back_in_time_keeps_its_messages() {
    let (_database, mut client) = slotted(1);
    send_keys(&mut client, &["k"; 4]);
    tick(&mut client);
    let (batch, page) = work(&mut client, "a", 2);
    assert_eq!(page, ["k:0", "k:1"]);
    assert_eq!(work(&mut client, "b", 2).1, Vec::<String>::new());
    // Late, but nobody has come.
    expire(&mut client, "a");
    ack(&mut client, batch);
    let (batch, page) = work(&mut client, "a", 2);
    assert_eq!(page, ["k:2", "k:3"]);
    assert_eq!(work(&mut client, "b", 2).1, Vec::<String>::new());
    expire(&mut client, "a");
    let (_, page) = work(&mut client, "b", 2);
    assert_eq!(page, ["k:2", "k:3"]);
    let answer = outcome(&mut client, &format!("select pgq.ack({batch})"));
    assert!(answer.starts_with("ERROR 42704: batch"), "{answer}");
    assert_eq!(work_off(&mut client, "a"), Vec::<String>::new());
    assert_eq!(work_off(&mut client, "b"), ["k:2", "k:3"]);
}

#[test]
fn a_worker_at_work_in_its_transaction_is_passed_by() {
    let (database, mut client) = slotted(2);
    for worker in ["a", "b", "a", "b"] {
        work(&mut client, worker, 1);
    }
    assert_eq!(shares(&mut client), ["a|1", "b|1"]);
    send_keys(&mut client, &["-"; 4]);
    tick(&mut client);
    let mut other = database.connect();
    run(&mut other, "begin");
    let (batch, page) = work(&mut other, "a", 10);
    assert_eq!(page.len(), 2);
    // Its lease runs out meanwhile, and what it has is locked.
    expire(&mut client, "a");
    assert_eq!(work_off(&mut client, "b").len(), 2);
    assert_eq!(work_off(&mut client, "b"), Vec::<String>::new());
    assert_eq!(shares(&mut client), ["-|1", "b|1"]);
    ack(&mut other, batch);
    run(&mut other, "commit");
    assert_eq!(work_off(&mut client, "b"), Vec::<String>::new());
    assert_eq!(shares(&mut client), ["b|2"]);
    assert_eq!(work_off(&mut other, "a"), Vec::<String>::new());
}

#[test]
fn what_is_put_aside_comes_to_the_same_slot() {
    let (_database, mut client) = slotted(4);
    run(&mut client, "select pgq.set_queue_config('q', 'max_retries', '1')");
    send_keys(&mut client, &["a", "b", "c", "d", "e", "f", "a", "b"]);
    tick(&mut client);
    let slot_of = |client: &mut Client, batch: i64| {
        row(
            client,
            &format!(
                "select slot_number from pgq.slot, pgq.page
                  where page_id = {batch} and page_consumer = slot_member"
            ),
        )
    };
    let (mut first, mut then) = (Vec::new(), Vec::new());
    for seen in [&mut first, &mut then] {
        loop {
            let found = client
                .query("select batch_id, msg_id from pgq.receive('q', 'c', 100, 'w')", &[])
                .unwrap();
            let Some(batch) = found.first().map(|row| row.get::<_, i64>(0)) else { break };
            let slot = slot_of(&mut client, batch);
            for message in &found {
                let id: i64 = message.get(1);
                seen.push((id, slot.clone()));
                row(&mut client, &format!("select pgq.nack({batch}, {id}, '0')"));
            }
            // Of another slot it has none.
            let strange = outcome(
                &mut client,
                &format!(
                    "select pgq.nack({batch}, n) from generate_series(1, 8) n
                      where n <= {last} and n > {first} and n not in ({ids})",
                    last = found.last().unwrap().get::<_, i64>(1),
                    first = found.first().unwrap().get::<_, i64>(1),
                    ids = found
                        .iter()
                        .map(|m| m.get::<_, i64>(1).to_string())
                        .collect::<Vec<_>>()
                        .join(",")
                ),
            );
            assert!(strange.is_empty() || strange.starts_with("ERROR 42704"), "{strange}");
            ack(&mut client, batch);
        }
        seen.sort();
        retry_now(&mut client);
    }
    assert_eq!(first.len(), 8);
    assert_eq!(first, then);
    let letters = "select consumer_name, count(*) from pgq.dead_letters('q') group by 1";
    assert_eq!(rows(&mut client, letters), ["c|8"]);
    assert_eq!(row(&mut client, "select pgq.dead_replay('q', 'c')"), "8");
    retry_now(&mut client);
    assert_eq!(work_off(&mut client, "w").len(), 8);
}

#[test]
fn the_number_of_slots_changes_when_all_have_come_to_one_place() {
    let (_database, mut client) = slotted(3);
    run(&mut client, "select pgq.set_queue_config('q', 'batch_max_count', '6')");
    let keys: Vec<String> = (0..30).map(|n| format!("k{}", n % 10)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for part in keys.chunks(6) {
        send_keys(&mut client, part);
        tick(&mut client);
    }
    // One slot is ahead of the others.
    let (batch, page) = work(&mut client, "w", 100);
    ack(&mut client, batch);
    let mut done = page;
    let left = row(&mut client, "select pgq.set_slots('q', 'c', 5)");
    assert_eq!(left, "2");
    assert_eq!(
        row(&mut client, "select count(*) from pgq.slots('q', 'c') where next_slots = 5"),
        "3"
    );
    let mut first = Vec::new();
    while row(&mut client, "select count(*) from pgq.slot") == "3" {
        let (batch, page) = work(&mut client, "w", 100);
        first.extend(page);
        ack(&mut client, batch);
    }
    done.extend(first);
    done.extend(work_off(&mut client, "w"));
    done.extend(work_off(&mut client, "w"));
    assert_eq!(done.len(), 30);
    for key in 0..10 {
        let of: Vec<_> =
            done.iter().filter(|payload| payload.starts_with(&format!("k{key}:"))).collect();
        assert_eq!(of.len(), 3, "{key}: {done:?}");
    }

    // Fewer; none; some again: at once, for all stand at one place.
    for (slots, names) in [(2, 2), (0, 0), (4, 4), (1, 1), (0, 0)] {
        assert_eq!(row(&mut client, &format!("select pgq.set_slots('q', 'c', {slots})")), "0");
        let members = "select count(*) from pgq.consumer where co_id < 0";
        assert_eq!(row(&mut client, members), names.to_string());
        send_keys(&mut client, &["x", "y", "z"]);
        tick(&mut client);
        if slots == 0 {
            assert_eq!(super::drain(&mut client, "c", 100).0, [3]);
        } else {
            assert_eq!(work_off(&mut client, "w").len(), 3);
        }
    }
}

#[test]
fn a_change_of_the_number_can_be_called_off() {
    let (_database, mut client) = slotted(2);
    send_keys(&mut client, &["-", "-", "-", "-"]);
    tick(&mut client);
    let (batch, page) = work(&mut client, "w", 1);
    assert_eq!(page.len(), 1);
    assert_eq!(row(&mut client, "select pgq.set_slots('q', 'c', 7)"), "2");
    send_keys(&mut client, &["-"; 6]);
    tick(&mut client);
    assert_eq!(row(&mut client, "select pgq.set_slots('q', 'c', 2)"), "0");
    ack(&mut client, batch);
    assert_eq!(work_off(&mut client, "w").len(), 9);
    assert_eq!(row(&mut client, "select count(*) from pgq.slot"), "2");
    // A move makes what is to come.
    send_keys(&mut client, &["-"; 4]);
    tick(&mut client);
    let (batch, _) = work(&mut client, "w", 1);
    assert_eq!(row(&mut client, "select pgq.set_slots('q', 'c', 3)"), "2");
    let seek = "select s.from_tick > s.to_tick and s.events > 0
                  from pgq.seek('q', 'c', '-infinity'::timestamptz) s";
    assert_eq!(row(&mut client, seek), "t");
    assert_eq!(row(&mut client, "select count(*) from pgq.slot"), "3");
    let answer = outcome(&mut client, &format!("select pgq.ack({batch})"));
    assert!(answer.starts_with("ERROR 42704: batch"), "{answer}");
    assert_eq!(work_off(&mut client, "w").len(), 14);
}

#[test]
fn slots_are_no_consumers() {
    let (_database, mut client) = slotted(2);
    run(&mut client, "select pgq.subscribe('q', 'plain')");
    send_keys(&mut client, &["-", "-"]);
    tick(&mut client);
    let (batch, _) = work(&mut client, "w", 1);
    let ids = "select sub_batch from pgq.subscription where sub_batch is not null";
    let own = row(&mut client, ids);
    let slot = "ERROR 55000: consumer \"c#1\" is a slot of another one";
    let slotted = "ERROR 55000: consumer \"c\" has slots";
    for (call, error) in [
        ("next_batch('q', 'c')", slotted),
        ("receive('q', 'c')", slotted),
        ("next_batch('q', 'c#1')", slot),
        ("receive('q', 'c#1')", slot),
        (
            "receive('q', 'c#1', 1, 'w')",
            "ERROR 55000: consumer \"c#1\" of queue \"q\" has no slots",
        ),
        ("receive('q', 'plain', 1, 'w')", "ERROR 55000: consumer \"plain\" of queue \"q\" has no"),
        ("receive('q', 'x', 1, 'w')", "ERROR 42704: Not subscriber to queue: q/x"),
        ("receive('x', 'c', 1, 'w')", "ERROR 42704: Not subscriber to queue: x/c"),
        ("receive('q', 'c', 0, 'w')", "ERROR 22023: max_return must be at least 1, not 0"),
        ("receive('q', 'c', null, 'w')", "ERROR 22004: max_return must be at least 1, not NULL"),
        ("receive('q', 'c', 1, null)", "ERROR 22004: the worker needs a name"),
        ("receive('q', 'c', 1, '')", "ERROR 22023: the worker needs a name"),
        ("receive('q', 'c', 1, repeat('w', 201))", "ERROR 22023: the worker needs a name"),
        ("subscribe('q', 'c#1')", slot),
        ("unsubscribe('q', 'c#1')", slot),
        ("seek('q', 'c#1', '-infinity'::timestamptz)", slot),
        ("set_slots('q', 'c#1', 3)", slot),
        ("set_slots('q', 'c', -1)", "ERROR 22023: slots must be from 0 to 1000, not -1"),
        ("set_slots('q', 'c', 1001)", "ERROR 22023: slots must be from 0 to 1000, not 1001"),
        ("set_slots('q', 'c', null)", "ERROR 22004: slots must be from 0 to 1000, not NULL"),
        ("set_slots('q', 'x', 1)", "ERROR 42704: Not subscriber to queue: q/x"),
        ("set_slots('q', null, 1)", "ERROR 42704: Not subscriber to queue: q/NULL"),
        ("set_slots('x', 'c', 1)", "ERROR 42704: No such event queue"),
        ("subscribe('q', 'd', slots => -1)", "ERROR 22023: slots must be from 0 to 1000"),
        ("subscribe('q', 'd', slots => null)", "ERROR 22004: slots must be from 0 to 1000"),
        ("slots('q', 'x')", "ERROR 42704: Not subscriber to queue: q/x"),
        ("set_queue_config('q', 'slot_lease', '0')", "ERROR 22023: invalid value for parameter"),
        ("_key_slot(1, 'k', 0)", "ERROR 22023: there is no slot 0 of 0"),
        (&format!("get_batch_events({batch})"), "ERROR 42704: batch not found"),
        (&format!("get_batch_events({own})"), "ERROR 42704: batch not found"),
        (&format!("batch_event_sql({own})"), "ERROR 42704: batch not found"),
        (&format!("event_retry({own}, 1, 0)"), "ERROR 42704: batch not found"),
        (&format!("batch_retry({own}, 0)"), "ERROR 42704: batch_retry: batch"),
    ] {
        let answer = outcome(&mut client, &format!("select pgq.{call}"));
        assert!(answer.starts_with(error), "{call}: {answer}");
    }
    // A consumer of that name stands in the way.
    run(&mut client, "select pgq.subscribe('q', 'plain#1')");
    let answer = outcome(&mut client, "select pgq.set_slots('q', 'plain', 2)");
    assert!(answer.starts_with("ERROR 55000: there is a consumer \"plain#1\""), "{answer}");
    // So does an open batch.
    run(&mut client, "select * from pgq.receive('q', 'plain')");
    let answer = outcome(&mut client, "select pgq.set_slots('q', 'plain', 1)");
    assert!(answer.starts_with("ERROR 55000: consumer \"plain\" has an open batch"), "{answer}");
    ack(&mut client, batch);
}

#[test]
fn slots_go_with_their_consumer() {
    let (_database, mut client) = slotted(3);
    run(&mut client, "select pgq.create_queue('p'), pgq.subscribe('p', 'c', slots => 2)");
    send_keys(&mut client, &["-"; 3]);
    tick(&mut client);
    work(&mut client, "w", 1);
    // What is left of it: consumers, subscriptions, pages, slots, workers.
    let left =
        "select (select count(*) from pgq.consumer), (select count(*) from pgq.subscription),
                       (select count(*) from pgq.page), (select count(*) from pgq.slot),
                       (select count(*) from pgq.slot_worker)";
    assert_eq!(row(&mut client, left), "4|7|1|5|1");
    assert_eq!(row(&mut client, "select pgq.unsubscribe('q', 'c')"), "4");
    assert_eq!(row(&mut client, left), "3|3|0|2|0");
    assert_eq!(row(&mut client, "select pgq.drop_queue('p', true)"), "1");
    assert_eq!(row(&mut client, left), "0|0|0|0|0");
}
