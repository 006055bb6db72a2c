//! Going back and forth in a queue, and how far it goes back.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, wait_until};
use postgres::Client;

use super::{drain, numbers, open_batches, queue, receive, send, tick};

/// Messages 0 to 4, each before a tick of its own: tick 2 is after message 0, of January 3rd.
fn history(client: &mut Client) {
    for n in 0..5 {
        send(client, [n]);
        tick(client);
    }
    run(
        client,
        "update pgq.tick set tick_time = '2020-01-01'::timestamptz + tick_id * interval '1 day'",
    );
}

#[test]
fn a_consumer_goes_back_and_forth() {
    let (_database, mut client) = queue();
    history(&mut client);
    drain(&mut client, "c", 10);
    for (target, left) in [
        ("to_tick => 3", 2..5),
        ("to_time => '2020-01-03'", 1..5),
        ("to_time => '2020-01-05 12:00'", 3..5),
        ("to_time => '-infinity'", 0..5),
        ("to_time => 'infinity'", 5..5),
        ("to_tick => 1", 0..5),
    ] {
        run(&mut client, &format!("select pgq.seek('q', 'c', {target})"));
        assert_eq!(drain(&mut client, "c", 10).1, numbers(left), "{target}");
    }
}

#[test]
fn what_a_seek_would_do_is_said_before() {
    let (_database, mut client) = queue();
    history(&mut client);
    let (batch, _) = receive(&mut client, "c", 10);
    let before = open_batches(&mut client);
    assert_eq!(before.len(), 1);
    let dry = "select from_tick, to_tick, events > 0 from pgq.seek('q', 'c', 4, true)";
    assert_eq!(row(&mut client, dry), "1|4|t");
    assert_eq!(open_batches(&mut client), before);
    let seek = "select from_tick, to_tick, events > 0 from pgq.seek('q', 'c', 4)";
    assert_eq!(row(&mut client, seek), "1|4|t");
    // Whose messages it had can do nothing with them any more.
    for call in [format!("ack({batch})"), format!("nack({batch}, 1)")] {
        assert!(outcome(&mut client, &format!("select pgq.{call}")).starts_with("ERROR 42704"));
    }
    assert_eq!(row(&mut client, "select * from pgq.seek('q', 'c', 4)"), "4|4|0");
    for (call, error) in [
        ("seek('q', 'c', null::bigint)", "ERROR 22004"),
        ("seek('q', 'c', null::timestamptz)", "ERROR 22004"),
        ("seek('q', 'c', 77)", "ERROR 42704: cannot reposition, tick not found: 77"),
        ("seek('q', 'x', 1)", "ERROR 42704: Not subscriber to queue: q/x"),
        ("seek('x', 'c', 1)", "ERROR 42704: No such event queue"),
        ("seek('x', 'c', now())", "ERROR 42704: No such event queue"),
    ] {
        let answer = outcome(&mut client, &format!("select pgq.{call}"));
        assert!(answer.starts_with(error), "{call}: {answer}");
    }
}

/// Rotate if it is time; true if it was.
fn rotate(client: &mut Client) -> bool {
    let table = "select queue_cur_table from pgq.queue";
    let before = row(client, table);
    run(client, "select pgq.maint_rotate_tables_step1('q')");
    run(client, "select pgq.maint_rotate_tables_step2()");
    row(client, table) != before
}

#[test]
fn a_queue_keeps_as_much_as_it_is_told_to() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.set_queue_config('q', 'keep', '7 days')");
    let old = "update pgq.queue set queue_switch_time = now() - interval";
    let due = "select count(*) from pgq.maint_operations()
                where func_name = 'pgq.maint_rotate_tables_step1'";
    let late = "select count(*) from pgq.queue_health() where code like 'rotation%'";
    let mut sent = 0;
    for _ in 0..4 {
        run(&mut client, &format!("{old} '6 days'"));
        assert_eq!(row(&mut client, due), "0");
        assert_eq!(row(&mut client, late), "0");
        assert!(!rotate(&mut client), "the last switch is younger than a week");
        run(&mut client, &format!("{old} '8 days'"));
        assert_eq!(row(&mut client, due), "1");
        send(&mut client, [sent]);
        tick(&mut client);
        drain(&mut client, "c", 10);
        assert!(!rotate(&mut client), "no tick after the switch is a week old");
        // Transactions of the server's other databases hold it up, too.
        let is_switched = wait_until(PATIENCE, || {
            tick(&mut client);
            run(&mut client, "update pgq.tick set tick_time = tick_time - interval '8 days'");
            sent += 1;
            send(&mut client, [sent]);
            tick(&mut client);
            drain(&mut client, "c", 10);
            rotate(&mut client)
        });
        assert!(is_switched);
        run(&mut client, "select pgq.seek('q', 'c', to_time => '-infinity')");
        let got = drain(&mut client, "c", 10).1;
        assert_eq!(got.last(), Some(&sent.to_string()), "{got:?}");
    }
    run(&mut client, "select pgq.set_queue_config('q', 'keep', '0')");
    run(&mut client, &format!("{old} '1 day'"));
    let is_switched = wait_until(PATIENCE, || {
        tick(&mut client);
        drain(&mut client, "c", 10);
        rotate(&mut client)
    });
    assert!(is_switched);
}
