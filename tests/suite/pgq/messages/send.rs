//! Sending: fields, ids, errors.

use pgq_tests::query::{outcome, row, rows, run};

use super::{queue, tick};

#[test]
fn a_message_is_an_event_with_type_payload_key_and_headers() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        r#"select pgq.send('q', 'plain'), pgq.send('q', '{"b": 1,"a":2}'::jsonb);
           select pgq.send('q', 'order', '{"b":1}'), pgq.send('q', 'order', '{"b":1}'::jsonb);
           select pgq.send('q', 'order', 'x', 'key');
           select pgq.send('q', 'order', 'x', headers => '{"traceparent": "00-ab"}');
           select pgq.send('q', null, null::text, '', '{}');
           select pgq.send('q', 'order', jsonb 'null', 'k', null)"#,
    );
    assert_eq!(
        rows(
            &mut client,
            "select ev_id, ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4
               from pgq.event_1 order by ev_id"
        ),
        [
            "1|default|plain|∅|∅|∅|∅",
            r#"2|default|{"a": 2, "b": 1}|∅|∅|∅|∅"#,
            r#"3|order|{"b":1}|∅|∅|∅|∅"#,
            r#"4|order|{"b": 1}|∅|∅|∅|∅"#,
            "5|order|x|key|∅|∅|∅",
            r#"6|order|x|∅|{"traceparent": "00-ab"}|∅|∅"#,
            "7|∅|∅||{}|∅|∅",
            "8|order|null|k|∅|∅|∅",
        ]
    );
    // As a driver sends it that leaves types to the server.
    let id: i64 = client.query_one("select pgq.send($1, $2)", &[&"q", &"sent"]).unwrap().get(0);
    assert_eq!(id, 9);
    tick(&mut client);
    assert_eq!(
        rows(
            &mut client,
            "select msg_id, type, payload, key, headers, retry_count, created_at is not null,
                    extra3, extra4
               from pgq.receive('q', 'c') where msg_id in (6, 7)"
        ),
        [r#"6|order|x|∅|{"traceparent": "00-ab"}|0|t|∅|∅"#, "7|∅|∅||{}|0|t|∅|∅"]
    );
}

#[test]
fn many_messages_get_their_ids_in_order() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.send('q', 'first')");
    for (call, ids) in [
        ("'t', array['a', null, 'c']", "{2,3,4}"),
        ("'t', array['{}']::jsonb[], array['k'], array['{\"h\": 1}']::jsonb[]", "{5}"),
        ("'t', array['a', 'b'], array[null, 'k'], array[null, '{}']::jsonb[]", "{6,7}"),
        ("'t', '{}'::text[]", "{}"),
    ] {
        assert_eq!(row(&mut client, &format!("select pgq.send_batch('q', {call})")), ids, "{call}");
    }
    assert_eq!(
        rows(
            &mut client,
            "select ev_id, ev_type, ev_data, ev_extra1, ev_extra2 from pgq.event_1
              where ev_id > 1 order by ev_id"
        ),
        ["2|t|a|∅|∅", "3|t|∅|∅|∅", "4|t|c|∅|∅", "5|t|{}|k|{\"h\": 1}", "6|t|a|∅|∅", "7|t|b|k|{}"]
    );
}

#[test]
fn what_cannot_be_sent_is_refused_whole() {
    let (_database, mut client) = queue();
    for (call, error) in [
        ("send(null, 'x')", "ERROR 22004: Queue name must not be NULL"),
        ("send('nowhere', 'x')", "ERROR 42704: No such queue"),
        ("send('q', 't', 'x', null, '[1]')", "ERROR 22023: headers must be a JSON object"),
        ("send('q', 't', 'x', null, '1')", "ERROR 22023: headers must be a JSON object"),
        ("send_batch(null, 't', array['x'])", "ERROR 22004: Queue name must not be NULL"),
        ("send_batch('q', 't', null::text[])", "ERROR 22004: payloads must not be NULL"),
        (
            "send_batch('q', 't', array['x'], array['k', 'l'])",
            "ERROR 22023: array \"keys\" has 2 elements, but \"payloads\" has 1",
        ),
        (
            "send_batch('q', 't', array['x', 'y'], null, array['{}']::jsonb[])",
            "ERROR 22023: array \"headers\" has 1 elements, but \"payloads\" has 2",
        ),
        (
            "send_batch('q', 't', array['x', 'y'], null, array['{}', '[]']::jsonb[])",
            "ERROR 22023: headers must be a JSON object",
        ),
        (
            "send_batch('q', 't', array[array['x']])",
            "ERROR 22023: array \"payloads\" must have one dimension",
        ),
    ] {
        assert_eq!(outcome(&mut client, &format!("select pgq.{call}")), error, "{call}");
    }
    assert_eq!(row(&mut client, "select count(*) from pgq.event_1"), "0");
    run(&mut client, "update pgq.queue set queue_per_tx_limit = 2");
    assert!(
        outcome(&mut client, "select pgq.send_batch('q', 't', array['x', 'y', 'z'])")
            .starts_with("ERROR 54000")
    );
    run(&mut client, "update pgq.queue set queue_disable_insert = true");
    assert!(outcome(&mut client, "select pgq.send('q', 'x')").starts_with("ERROR 55000"));
}
