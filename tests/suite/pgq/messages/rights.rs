//! A sender needs pgq_writer, a receiver pgq_reader, and neither more.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::scratch_database;

const SEND: [&str; 6] = [
    "send('q', 'x')",
    "send('q', '{}'::jsonb)",
    "send('q', 't', 'x', 'k', '{}')",
    "send('q', 't', '{}'::jsonb, 'k', '{}')",
    "send_batch('q', 't', array['x'])",
    "send_batch('q', 't', array['{}']::jsonb[])",
];
const RECEIVE: [&str; 13] = [
    "subscribe('q', 'c')",
    "receive('q', 'c')",
    "receive('q', 'c', 1, 'w')",
    "set_slots('q', 'c', 1)",
    "slots('q', 'c')",
    "ack(1, 1)",
    "nack(1, 2)",
    "ack(1)",
    "dead_letters('q')",
    "dead_replay('q', 'c')",
    "dead_purge('q', 'c', '0')",
    "unsubscribe('q', 'c')",
    "unsubscribe('q', 'c', true)",
];

#[test]
fn senders_send_and_receivers_receive() {
    let database = scratch_database();
    let prefix = database.name().to_owned();
    let mut owner = database.connect();
    run(
        &mut owner,
        &format!(
            "select pgq.create_queue('q'); select pgq.subscribe('q', 'spare');
             create role {prefix}_reader login in role pgq_reader;
             create role {prefix}_writer login in role pgq_writer;
             create role {prefix}_nobody login"
        ),
    );
    let mut reader = database.connect_as(&format!("{prefix}_reader"));
    let mut writer = database.connect_as(&format!("{prefix}_writer"));
    let mut nobody = database.connect_as(&format!("{prefix}_nobody"));
    let denied = |answer: &str| answer.starts_with("ERROR 42501: permission denied for function");
    for call in SEND {
        let call = format!("select pgq.{call}");
        for other in [&mut reader, &mut nobody] {
            assert!(denied(&outcome(other, &call)), "{call}");
        }
    }
    for call in RECEIVE {
        let call = format!("select pgq.{call}");
        for other in [&mut writer, &mut nobody] {
            assert!(denied(&outcome(other, &call)), "{call}");
        }
    }

    run(&mut owner, "select pgq.set_queue_config('q', 'max_retries', '0')");
    assert_eq!(outcome(&mut reader, "select pgq.subscribe('q', 'c')"), "1");
    for call in SEND {
        let answer = outcome(&mut writer, &format!("select pgq.{call}"));
        assert!(!answer.starts_with("ERROR"), "{call}: {answer}");
    }
    run(&mut owner, "select pgq.force_tick('q')");
    run(&mut owner, "select pgq.ticker('q')");
    assert_eq!(row(&mut reader, "select count(*) from pgq.receive('q', 'c')"), "6");
    for (call, answer) in [
        ("ack(3, 1)", "1"),
        ("nack(3, 2)", "dead"),
        ("ack(3)", "1"),
        ("dead_replay('q', 'c')", "1"),
        ("dead_purge('q', 'c', '0')", "0"),
        ("unsubscribe('q', 'c')", "1"),
    ] {
        assert_eq!(outcome(&mut reader, &format!("select pgq.{call}")), answer, "{call}");
    }
    assert_eq!(outcome(&mut reader, "select count(*) from pgq.dead_letter"), "0");
    for (call, answer) in [
        ("select pgq.subscribe('q', 's', '-infinity', 1)", "1"),
        ("select count(*) from pgq.receive('q', 's', 10, 'w')", "6"),
        ("select pgq.ack(page_id) from pgq.page where page_end is not null", "1"),
        ("call pgq.wait_receive('q', 's', '0', 1, 'w', null)", "{}"),
        ("select worker from pgq.slots('q', 's')", "w"),
        ("select pgq.set_slots('q', 's', 0)", "0"),
    ] {
        assert_eq!(outcome(&mut reader, call), answer, "{call}");
    }
    assert!(outcome(&mut writer, "select * from pgq.dead_letter").starts_with("ERROR 42501"));

    // What a queue's own tables allow counts as for get_batch_events.
    run(
        &mut owner,
        "revoke select on pgq.event_1_0, pgq.event_1_1, pgq.event_1_2 from pgq_reader;
         select pgq.subscribe('q', 'd', '-infinity')",
    );
    let answer = outcome(&mut reader, "select * from pgq.receive('q', 'd')");
    assert!(answer.starts_with("ERROR 42501: permission denied for table event_1_"), "{answer}");
    drop((reader, writer, nobody));
    let cluster = database.cluster();
    drop((owner, database));
    run(
        &mut cluster.connect("postgres"),
        &format!("drop role {prefix}_reader, {prefix}_writer, {prefix}_nobody"),
    );
}
