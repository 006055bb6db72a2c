//! Dead letters: seen, replayed, purged, and not lost by mistake.

use pgq_tests::query::{outcome, row, rows, run};
use postgres::Client;

use super::{ack, drain, numbers, queue, receive, send, tick};

/// Make all messages of consumer `c` dead letters.
fn give_up(client: &mut Client) {
    run(client, "select pgq.set_queue_config('q', 'max_retries', '0')");
    tick(client);
    let (batch, page) = receive(client, "c", 100);
    assert!(!page.is_empty());
    run(
        client,
        &format!(
            "select pgq.nack({batch}, e.ev_id, reason => 'reason ' || e.ev_id)
               from pgq.get_batch_events({batch}) e"
        ),
    );
    ack(client, batch);
}

const IDS: &str = "select string_agg(msg_id::text, ' ') from pgq.dead_letters('q')";

#[test]
fn letters_are_given_back_to_their_consumer_alone_as_they_were() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.subscribe('q', 'other')");
    run(&mut client, r#"select pgq.send('q', 't', 'x', 'k', '{"h": 1}')"#);
    send(&mut client, 1..4);
    give_up(&mut client);
    assert_eq!(row(&mut client, IDS), "1 2 3 4");
    assert_eq!(
        row(
            &mut client,
            "select type, payload, key, headers, reason from pgq.dead_letters('q', 'c')
              where msg_id = 1"
        ),
        r#"t|x|k|{"h": 1}|reason 1"#
    );
    assert_eq!(row(&mut client, "select count(*) from pgq.dead_letters('q', 'other')"), "0");

    assert_eq!(row(&mut client, "select pgq.dead_replay('q', 'c', '{1, 3, 77}')"), "2");
    assert_eq!(row(&mut client, IDS), "2 4");
    assert_eq!(row(&mut client, "select pgq.maint_retry_events()"), "2");
    tick(&mut client);
    assert_eq!(
        rows(
            &mut client,
            "select msg_id, type, payload, key, headers, retry_count from pgq.receive('q', 'c')"
        ),
        [r#"1|t|x|k|{"h": 1}|0"#, "3|t|2|∅|∅|0"]
    );
    assert_eq!(drain(&mut client, "other", 100).1.len(), 4);
    assert_eq!(row(&mut client, "select pgq.dead_replay('q', 'c')"), "2");
    assert_eq!(row(&mut client, "select pgq.dead_replay('q', 'c')"), "0");
}

#[test]
fn health_says_that_letters_wait() {
    let (_database, mut client) = queue();
    let health = "select severity, left(finding, 45) from pgq.queue_health()
                   where queue_name = 'q' and code = 'dead_letters'";
    assert_eq!(rows(&mut client, health), Vec::<String>::new());
    send(&mut client, 0..3);
    give_up(&mut client);
    assert_eq!(rows(&mut client, health), ["info|3 dead letters of consumer \"c\" in pgq.dead_le"]);
    run(&mut client, "select pgq.dead_replay('q', 'c')");
    assert_eq!(rows(&mut client, health), Vec::<String>::new());
}

#[test]
fn one_that_dies_again_is_counted() {
    let (_database, mut client) = queue();
    send(&mut client, 0..1);
    let first = row(&mut client, "select min(tick_id) from pgq.tick");
    give_up(&mut client);
    run(&mut client, &format!("select pgq.register_consumer_at('q', 'c', {first})"));
    give_up(&mut client);
    assert_eq!(
        rows(&mut client, "select times, first_failed < last_failed from pgq.dead_letters('q')"),
        ["2|t"]
    );
}

#[test]
fn letters_are_purged_by_age() {
    let (_database, mut client) = queue();
    send(&mut client, 0..3);
    give_up(&mut client);
    run(
        &mut client,
        "update pgq.dead_letter set dl_last_failed = now() - interval '2 days' where dl_msg_id = 2",
    );
    assert_eq!(row(&mut client, "select pgq.dead_purge('q', 'c', '1 day')"), "1");
    assert_eq!(row(&mut client, IDS), "1 3");
    assert_eq!(
        outcome(&mut client, "select pgq.dead_purge('q', 'c', null)"),
        "ERROR 22004: older_than must not be NULL"
    );
    assert_eq!(row(&mut client, "select pgq.dead_purge('q', 'c', '0')"), "2");
    for call in ["dead_purge('q', 'x', '0')", "dead_replay('q', 'x')"] {
        assert_eq!(
            outcome(&mut client, &format!("select pgq.{call}")),
            "ERROR 42704: Not subscriber to queue: q/x"
        );
    }
    assert_eq!(
        outcome(&mut client, "select * from pgq.dead_letters('x')"),
        "ERROR 42704: No such event queue"
    );
}

#[test]
fn who_has_letters_does_not_go_without_a_word() {
    let (_database, mut client) = queue();
    send(&mut client, 0..3);
    give_up(&mut client);
    let refused = "ERROR 55000: consumer \"c\" has dead letters on queue \"q\": 3";
    for call in ["unsubscribe('q', 'c')", "unregister_consumer('q', 'c')"] {
        assert_eq!(outcome(&mut client, &format!("select pgq.{call}")), refused);
    }
    assert_eq!(row(&mut client, "select pgq.unsubscribe('q', 'c', force => true)"), "1");
    assert_eq!(row(&mut client, "select count(*) from pgq.dead_letter"), "0");

    run(&mut client, "select pgq.subscribe('q', 'c')");
    send(&mut client, 0..3);
    give_up(&mut client);
    run(&mut client, "select pgq.drop_queue('q', true)");
    assert_eq!(
        row(
            &mut client,
            "select (select count(*) from pgq.dead_letter), (select count(*) from pgq.page),
                    (select count(*) from pgq.queue_option)"
        ),
        "0|0|0"
    );
}

#[test]
fn letters_can_go_to_a_queue_in_the_clients_form() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.create_queue('q.dead')");
    let set =
        |value: &str| format!("select pgq.set_queue_config('q', 'dead_letter_queue', '{value}')");
    assert_eq!(row(&mut client, &set("q.dead")), "1");
    run(&mut client, "select pgq.send('q', 't', 'x', 'k')");
    send(&mut client, ["plain"]);
    give_up(&mut client);
    assert_eq!(
        rows(
            &mut client,
            "select ev_type, ev_data, ev_extra1::jsonb - '{ev_time, failed_at}'::text[], ev_extra2,
                    (ev_extra1::jsonb ->> 'ev_time')::timestamptz <= now(), ev_extra3
               from pgq.event_2 order by ev_id"
        ),
        [
            r#"t|x|{"error": "reason 1", "ev_id": 1, "queue": "q", "attempts": 1, "consumer": "c"}|["k", null, null, null]|t|∅"#,
            r#"t|plain|{"error": "reason 2", "ev_id": 2, "queue": "q", "attempts": 1, "consumer": "c"}|∅|t|∅"#,
        ]
    );
    assert_eq!(row(&mut client, IDS), "∅");
    assert_eq!(
        row(&mut client, "select consumer_name from pgq.get_consumer_info('q.dead')"),
        "dead_letters",
        "the queue keeps them"
    );
    assert_eq!(row(&mut client, &set("")), "1");
    send(&mut client, numbers(0..1));
    give_up(&mut client);
    assert_eq!(row(&mut client, "select count(*) from pgq.dead_letters('q')"), "1");
    assert_eq!(
        outcome(&mut client, &set("q")),
        "ERROR 22023: queue \"q\" cannot be its own dead-letter queue"
    );
    assert!(outcome(&mut client, &set("nowhere")).starts_with("ERROR 42704"));
}

/// A poison message stops nobody, whatever has become of the queue that letters go to.
#[test]
fn letters_are_in_the_table_where_their_queue_takes_none() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.create_queue('dead');
         select pgq.set_queue_config('q', 'dead_letter_queue', 'dead')",
    );
    let count = "select count(*) from pgq.dead_letters('q')";
    for (change, letters) in [
        ("update pgq.queue set queue_disable_insert = true where queue_name = 'dead'", "1"),
        (
            "update pgq.queue set queue_disable_insert = false where queue_name = 'dead';
             select pgq.unregister_consumer('dead', 'dead_letters')",
            "2",
        ),
        ("update pgq.queue_option set opt_dead_letter_queue = 'never'", "3"),
    ] {
        run(&mut client, change);
        send(&mut client, 0..1);
        give_up(&mut client);
        assert_eq!(row(&mut client, count), letters, "{change}");
    }
    run(&mut client, "select pgq.set_queue_config('q', 'dead_letter_queue', 'dead')");
    run(&mut client, "select pgq.drop_queue('dead', true)");
    assert_eq!(row(&mut client, "select opt_dead_letter_queue from pgq.queue_option"), "∅");
    assert!(
        outcome(&mut client, "select * from pgq.dead_letters('nowhere')")
            .starts_with("ERROR 42704: No such event queue")
    );
}

/// One transaction may give up more messages than the queue for them takes from one.
#[test]
fn letters_that_their_queue_refuses_are_in_the_table() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "select pgq.create_queue('dead');
         select pgq.set_queue_config('q', 'dead_letter_queue', 'dead');
         update pgq.queue set queue_per_tx_limit = 2 where queue_name = 'dead'",
    );
    send(&mut client, 0..5);
    give_up(&mut client);
    assert_eq!(row(&mut client, "select count(*) from pgq.event_2"), "2");
    assert_eq!(row(&mut client, "select count(*) from pgq.dead_letters('q')"), "3");
    run(
        &mut client,
        "update pgq.queue set queue_per_tx_limit = null where queue_name = 'dead';
         alter table pgq.event_2_0 add constraint short check (length(ev_data) < 3)",
    );
    send(&mut client, ["5", "too long"]);
    give_up(&mut client);
    assert_eq!(row(&mut client, "select count(*) from pgq.event_2"), "3");
    assert_eq!(row(&mut client, "select count(*) from pgq.dead_letters('q')"), "4");
}

/// Who gives one letter back waits for nobody who works on another.
#[test]
fn only_the_letters_that_are_asked_for_are_locked() {
    let (database, mut client) = queue();
    send(&mut client, 0..3);
    give_up(&mut client);
    let mut other = database.connect();
    run(&mut other, "begin; select 1 from pgq.dead_letter where dl_msg_id = 2 for update");
    run(&mut client, "set lock_timeout = '1 s'");
    assert_eq!(row(&mut client, "select pgq.dead_replay('q', 'c', '{1}')"), "1");
    run(
        &mut client,
        "update pgq.dead_letter set dl_last_failed = '2020-01-01' where dl_msg_id = 3",
    );
    assert_eq!(row(&mut client, "select pgq.dead_purge('q', 'c', '1 day')"), "1");
}

#[test]
fn settings_are_checked() {
    let (_database, mut client) = queue();
    for (name, value, answer) in [
        ("max_retries", "0", "1"),
        ("max_retries", "-1", "ERROR 22023"),
        ("max_retries", "many", "ERROR 22P02"),
        ("retry_base", "-1 s", "ERROR 22023"),
        ("retry_max", "0", "1"),
        ("retries", "1", "ERROR 22023"),
    ] {
        let call = format!("select pgq.set_queue_config('q', '{name}', '{value}')");
        assert!(outcome(&mut client, &call).starts_with(answer), "{name} {value}");
    }
    assert_eq!(
        row(&mut client, "select * from pgq.queue_option"),
        "1|0|00:00:01|00:00:00|∅|00:00:00|01:00:00|00:00:30",
        "what is not set has its default"
    );
}
