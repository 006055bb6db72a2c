//! Cooperative consumers, one call at a time: upstream's flow, and what upstream loses.

use std::sync::{Arc, Mutex};

use pgq_tests::{Scratch, scratch_database};
use postgres::{Client, NoTls};

use pgq_tests::query::{outcome, row, rows, run};

/// A queue `q` that ticks whenever the ticker is called.
fn group() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "create extension pgq_coop; select pgq.create_queue('q')");
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_count = 1, queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    (database, client)
}

/// Insert events with the given data in a transaction of their own and tick.
fn ticked(client: &mut Client, data: &[&str]) {
    for datum in data {
        client.execute("select pgq.insert_event('q', 'test', $1)", &[datum]).unwrap();
    }
    run(client, "select pgq.ticker('q')");
}

/// Data of the events of a batch.
fn events(client: &mut Client, batch: &str) -> Vec<String> {
    rows(client, &format!("select ev_data from pgq.get_batch_events({batch})"))
}

/// Take batches as the given member and finish them until there are none; the data of their events.
fn drain(client: &mut Client, member: &str) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let batch = row(client, &format!("select pgq_coop.next_batch('q', 'main', '{member}')"));
        if batch == "∅" {
            return all;
        }
        all.extend(events(client, &batch));
        assert_eq!(row(client, &format!("select pgq_coop.finish_batch({batch})")), "1");
    }
}

/// Positions of the group, by name: name, last tick, batch, next tick.
fn positions(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select consumer_name, last_tick, current_batch, next_tick from pgq.get_consumer_info()",
    )
}

/// Flush the retry queue and tick, so that what is due can be had.
fn retried(client: &mut Client) {
    while row(client, "select pgq.maint_retry_events()") != "0" {}
    run(client, "select pgq.ticker('q')");
}

#[test]
fn members_share_the_batches_of_their_main_consumer() {
    let (_database, mut client) = group();
    let register = "select pgq_coop.register_subconsumer('q', 'main', 'one')";
    assert_eq!(row(&mut client, register), "1");
    assert_eq!(row(&mut client, register), "0");
    let unregister = "select pgq_coop.unregister_subconsumer('q', 'main', 'one', 0)";
    assert_eq!(row(&mut client, unregister), "1");
    assert_eq!(row(&mut client, unregister), "0");
    assert_eq!(row(&mut client, register), "1");

    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')"), "∅");
    ticked(&mut client, &["a"]);
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')"), "1");
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')"), "1");
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'two')"), "∅");
    ticked(&mut client, &["b"]);
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'two')"), "2");
    assert_eq!(events(&mut client, "1"), ["a"]);
    assert_eq!(events(&mut client, "2"), ["b"]);
    assert_eq!(positions(&mut client), ["main|3|∅|∅", "main.one|1|1|2", "main.two|2|2|3"]);
    assert_eq!(outcome(&mut client, unregister), "ERROR 55000: subconsumer has active batch");

    // One session takes over from itself: the id stays, as upstream's clients saw it.
    run(
        &mut client,
        "update pgq.subscription set sub_active = sub_active - interval '1 hour' where sub_batch = 1",
    );
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'three', '1 hour')"), "1");
    assert_eq!(positions(&mut client), ["main|3|∅|∅", "main.three|1|1|2", "main.two|2|2|3"]);
    assert_eq!(row(&mut client, "select pgq_coop.finish_batch(1)"), "1");
    assert_eq!(row(&mut client, "select pgq_coop.finish_batch(2)"), "1");
    assert_eq!(positions(&mut client), ["main|3|∅|∅", "main.three|∅|∅|∅", "main.two|∅|∅|∅"]);

    assert_eq!(row(&mut client, "select pgq.unregister_consumer('q', 'main.two')"), "1");
    assert_eq!(row(&mut client, "select pgq.unregister_consumer('q', 'main')"), "2");
    assert_eq!(positions(&mut client), Vec::<String>::new());
    assert_eq!(row(&mut client, "select count(*) from pgq.consumer"), "0");
}

#[test]
fn finishing_a_batch_that_is_not_open_warns_and_returns_0() {
    let (database, _client) = group();
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&warnings);
    let mut config: postgres::Config =
        database.cluster().conninfo(database.name()).parse().unwrap();
    config.notice_callback(move |notice| seen.lock().unwrap().push(notice.message().to_owned()));
    let mut client = config.connect(NoTls).unwrap();
    assert_eq!(row(&mut client, "select pgq_coop.finish_batch(77)"), "0");
    assert_eq!(row(&mut client, "select pgq_coop.finish_batch(null)"), "0");
    assert_eq!(
        *warnings.lock().unwrap(),
        ["coop_finish_batch: batch 77 not found", "coop_finish_batch: batch <NULL> not found"]
    );
}

#[test]
fn misuse_is_refused_with_a_reason() {
    let (_database, mut client) = group();
    for call in [
        "select pgq_coop.register_subconsumer('q', 'main', null)",
        "select pgq_coop.register_subconsumer(null, 'main', 'one')",
        "select pgq_coop.next_batch('q', null, 'one')",
    ] {
        assert_eq!(
            outcome(&mut client, call),
            "ERROR 22004: queue, consumer and subconsumer must not be null",
            "{call}"
        );
    }
    assert!(
        outcome(&mut client, "select pgq_coop.next_batch('none', 'main', 'one')")
            .ends_with(": Event queue not created yet")
    );
    assert_eq!(
        row(&mut client, "select pgq_coop.unregister_subconsumer('none', 'a', 'b', 0)"),
        "0"
    );

    run(&mut client, "select pgq.register_consumer('q', 'main.plain')");
    assert_eq!(
        outcome(&mut client, "select pgq_coop.next_batch('q', 'main', 'plain')"),
        "ERROR 55000: consumer \"main.plain\" is registered on the queue as an ordinary consumer"
    );

    ticked(&mut client, &["a"]);
    run(&mut client, "select pgq.register_consumer_at('q', 'main', 1)");
    run(&mut client, "select pgq.next_batch('q', 'main')");
    assert_eq!(
        outcome(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')"),
        "ERROR 55000: main consumer has batch open?"
    );
}

#[test]
fn conditions_on_batches_reach_the_queue() {
    let (_database, mut client) = group();
    run(&mut client, "select pgq_coop.register_subconsumer('q', 'main', 'one')");
    ticked(&mut client, &["a"]);
    ticked(&mut client, &["b"]);
    ticked(&mut client, &["c"]);
    let with = |count: u32| {
        format!("select pgq_coop.next_batch_custom('q', 'main', 'one', null, {count}, null)")
    };
    assert_eq!(row(&mut client, &with(1000)), "∅");
    let batch = row(&mut client, &with(2));
    assert_eq!(events(&mut client, &batch), ["a", "b", "c"]);
    let lag = "select pgq_coop.next_batch_custom('q', 'main', 'two', '1 hour', null, null, null)";
    ticked(&mut client, &["d"]);
    assert_eq!(row(&mut client, lag), "∅");
}

#[test]
fn plain_finish_batch_leaves_a_member_in_its_group() {
    let (_database, mut client) = group();
    run(&mut client, "select pgq_coop.register_subconsumer('q', 'main', 'one')");
    ticked(&mut client, &["a"]);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')");
    assert_eq!(row(&mut client, &format!("select pgq.finish_batch({batch})")), "1");
    assert_eq!(positions(&mut client), ["main|2|∅|∅", "main.one|∅|∅|∅"]);

    // Upstream counts this member as the main consumer and removes the whole group.
    assert_eq!(row(&mut client, "select pgq.unregister_consumer('q', 'main.one')"), "1");
    assert_eq!(positions(&mut client), ["main|2|∅|∅"]);
    ticked(&mut client, &["b"]);
    assert_eq!(drain(&mut client, "one"), ["b"]);
}

#[test]
fn cooperative_finish_batch_finishes_a_plain_batch_as_pgq_does() {
    let (_database, mut client) = group();
    run(&mut client, "select pgq.register_consumer('q', 'plain')");
    ticked(&mut client, &["a"]);
    let batch = row(&mut client, "select pgq.next_batch('q', 'plain')");
    assert_eq!(row(&mut client, &format!("select pgq_coop.finish_batch({batch})")), "1");
    assert_eq!(positions(&mut client), ["plain|2|∅|∅"]);
}

#[test]
fn newest_batch_that_is_handed_back_comes_next_and_in_order() {
    for unregister in [
        "select pgq_coop.unregister_subconsumer('q', 'main', 'one', 1)",
        "select pgq.unregister_consumer('q', 'main.one')",
    ] {
        let (_database, mut client) = group();
        run(&mut client, "select pgq_coop.register_subconsumer('q', 'main', 'one')");
        ticked(&mut client, &["a", "b"]);
        let batch = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')");
        assert_eq!(row(&mut client, unregister), "1");
        assert_eq!(positions(&mut client), ["main|1|∅|∅"], "{unregister}");
        assert_eq!(row(&mut client, &format!("select pgq_coop.finish_batch({batch})")), "0");
        ticked(&mut client, &["c"]);
        assert_eq!(drain(&mut client, "two"), ["a", "b", "c"], "{unregister}");
    }
}

#[test]
fn older_batch_that_is_handed_back_comes_again_through_the_retry_queue() {
    let (_database, mut client) = group();
    run(&mut client, "select pgq_coop.register_subconsumer('q', 'main', 'one')");
    run(&mut client, "select pgq.register_consumer('q', 'other')");
    ticked(&mut client, &["a", "b"]);
    let batch = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'one')");
    ticked(&mut client, &["c"]);
    let later = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'two')");
    // One of the events waits in the retry queue already: it comes again once, not twice.
    run(&mut client, &format!("select pgq.event_retry({batch}, 1, 0)"));
    assert_eq!(
        row(&mut client, "select pgq_coop.unregister_subconsumer('q', 'main', 'one', 1)"),
        "1"
    );
    assert_eq!(events(&mut client, &later), ["c"]);
    assert_eq!(row(&mut client, &format!("select pgq_coop.finish_batch({later})")), "1");
    retried(&mut client);
    assert_eq!(
        rows(
            &mut client,
            "select ev_data, ev_retry from pgq.event_template where ev_owner is not null order by 1"
        ),
        ["a|1", "b|∅"]
    );
    assert_eq!(drain(&mut client, "two"), ["a", "b"]);

    // They are the group's own; others have had them.
    let mut others = Vec::new();
    loop {
        let batch = row(&mut client, "select pgq.next_batch('q', 'other')");
        if batch == "∅" {
            break;
        }
        others.extend(events(&mut client, &batch));
        run(&mut client, &format!("select pgq.finish_batch({batch})"));
    }
    assert_eq!(others, ["a", "b", "c"]);
}

#[test]
fn late_member_cannot_touch_a_batch_that_was_taken_over() {
    let (database, mut late) = group();
    let mut heir = database.connect();
    run(&mut late, "select pgq_coop.register_subconsumer('q', 'main', 'late')");
    ticked(&mut late, &["a"]);
    let old = row(&mut late, "select pgq_coop.next_batch('q', 'main', 'late')");
    run(
        &mut heir,
        "update pgq.subscription set sub_active = now() - interval '2 hours' where sub_batch is not null",
    );
    let new = row(&mut heir, "select pgq_coop.next_batch('q', 'main', 'heir', '1 hour')");
    assert_ne!(old, new);
    assert_eq!(row(&mut heir, "select pgq_coop.next_batch('q', 'main', 'heir')"), new);

    for finish in ["pgq_coop.finish_batch", "pgq.finish_batch"] {
        assert_eq!(row(&mut late, &format!("select {finish}({old})")), "0");
    }
    assert!(
        outcome(&mut late, &format!("select * from pgq.get_batch_events({old})"))
            .starts_with("ERROR")
    );
    assert!(
        outcome(&mut late, &format!("select pgq.event_retry({old}, 1, 0)")).starts_with("ERROR")
    );
    // It is no member any more; when it asks for work it becomes one again.
    assert_eq!(row(&mut late, "select pgq_coop.next_batch('q', 'main', 'late', '1 hour')"), "∅");
    assert_eq!(events(&mut heir, &new), ["a"]);
    assert_eq!(row(&mut heir, &format!("select pgq_coop.finish_batch({new})")), "1");
    assert_eq!(positions(&mut heir), ["main|2|∅|∅", "main.heir|∅|∅|∅", "main.late|∅|∅|∅"]);
}

#[test]
fn idle_members_and_the_living_are_not_taken_over_from() {
    let (database, mut client) = group();
    let mut other = database.connect();
    for member in ["idle", "living", "finishing"] {
        run(&mut client, &format!("select pgq_coop.register_subconsumer('q', 'main', '{member}')"));
    }
    ticked(&mut client, &["a"]);
    let living = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'living')");
    ticked(&mut client, &["b"]);
    let finishing = row(&mut client, "select pgq_coop.next_batch('q', 'main', 'finishing')");
    run(&mut client, "update pgq.subscription set sub_active = now() - interval '2 hours'");
    // A sign of life, and a transaction that finishes the batch in this moment.
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'main', 'living')"), living);
    run(&mut client, &format!("begin; select pgq_coop.finish_batch({finishing})"));
    assert_eq!(row(&mut other, "select pgq_coop.next_batch('q', 'main', 'heir', '1 hour')"), "∅");
    run(&mut client, "commit");
    assert_eq!(
        positions(&mut other),
        [
            "main|3|∅|∅".to_owned(),
            "main.finishing|∅|∅|∅".to_owned(),
            "main.heir|∅|∅|∅".to_owned(),
            "main.idle|∅|∅|∅".to_owned(),
            format!("main.living|1|{living}|2"),
        ]
    );
}

#[test]
fn subscriptions_that_only_share_a_number_are_no_group() {
    // A logical restore of a 3.x database can leave unrelated subscriptions with one sub_id.
    let (_database, mut client) = group();
    run(
        &mut client,
        "select pgq.register_consumer('q', 'alpha'), pgq.register_consumer('q', 'beta')",
    );
    run(&mut client, "update pgq.subscription set sub_id = 1");
    ticked(&mut client, &["a"]);
    let batch = row(&mut client, "select pgq.next_batch('q', 'beta')");
    assert_eq!(row(&mut client, &format!("select pgq.finish_batch({batch})")), "1");
    assert_eq!(positions(&mut client), ["alpha|1|∅|∅", "beta|2|∅|∅"]);
}
