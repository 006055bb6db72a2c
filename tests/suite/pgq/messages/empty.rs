//! Batches without events: passed on the way, however many they are.

use pgq_tests::query::{row, run};
use postgres::Client;

use super::{ack, drain, numbers, open_batches, queue, receive, send, tick};

/// Lay so many ticks at once that have nothing between them.
fn lay_empty_ticks(client: &mut Client, count: i64) {
    client
        .execute(
            "insert into pgq.tick (tick_queue, tick_id, tick_event_seq)
             select t.tick_queue, nextval('pgq.event_1_tick_seq'), t.tick_event_seq
               from (select * from pgq.tick order by tick_id desc limit 1) t,
                    generate_series(1, $1::bigint)",
            &[&count],
        )
        .unwrap();
}

#[test]
fn many_empty_batches_are_passed_in_a_few_looks() {
    let (_database, mut client) = queue();
    send(&mut client, ["first"]);
    tick(&mut client);
    lay_empty_ticks(&mut client, 3000);
    send(&mut client, ["last"]);
    tick(&mut client);
    let (batch, page) = receive(&mut client, "c", 10);
    assert_eq!(page, ["first"]);
    ack(&mut client, batch);
    run(&mut client, "begin; set local track_functions = 'all'");
    let (batch, page) = receive(&mut client, "c", 10);
    assert_eq!(page, ["last"]);
    let looks = row(
        &mut client,
        "select sum(calls) from pg_stat_xact_user_functions
          where funcname in ('_page_end', '_window_has_events')",
    );
    assert!(looks.parse::<u32>().unwrap() < 60, "{looks} looks");
    ack(&mut client, batch);
    run(&mut client, "commit");
    lay_empty_ticks(&mut client, 100);
    assert_eq!(receive(&mut client, "c", 10), (0, vec![]));
    assert_eq!(open_batches(&mut client), Vec::<String>::new());
    assert_eq!(
        row(
            &mut client,
            "select sub_last_tick = (select max(tick_id) from pgq.tick) from pgq.subscription"
        ),
        "t"
    );
}

#[test]
fn nothing_between_empty_batches_is_passed_by() {
    let (_database, mut client) = queue();
    for (n, count) in [0, 1, 2, 3, 7, 64, 65, 300, 5, 1].into_iter().enumerate() {
        lay_empty_ticks(&mut client, count);
        send(&mut client, [n]);
        tick(&mut client);
    }
    lay_empty_ticks(&mut client, 9);
    assert_eq!(drain(&mut client, "c", 10), (vec![1; 10], numbers(0..10)));
}

#[test]
fn what_was_long_under_way_is_found_behind_empty_batches() {
    let (database, mut client) = queue();
    let mut slow = database.connect();
    run(&mut slow, "begin; select pgq.send('q', 'slow')");
    tick(&mut client);
    lay_empty_ticks(&mut client, 40);
    run(&mut slow, "commit");
    lay_empty_ticks(&mut client, 40);
    assert_eq!(drain(&mut client, "c", 10).1, ["slow"]);
}
