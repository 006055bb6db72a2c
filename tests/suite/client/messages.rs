//! The commands over the queue API: keys and headers, what the queue's settings say about failures,
//! and the server's own dead letters. A server without these is served as before.

use std::time::Duration;

use pgq_client::dead_letter::{Decision, list, sort};
use pgq_client::{Backoff, Consumer, NewEvent, OnFailure, Outcome, Producer};
use pgq_tests::programs::{
    connector, create_queue, database_on, dsn, insert_and_tick, run, stderr, succeed, tick,
    tick_always, value,
};
use pgq_tests::{Scratch, Tree};
use postgres::Client;
use serde_json::Value;

fn json(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A queue `q` with consumer `c`, whose messages come again once, at once.
fn prepare() -> (Scratch, Client) {
    let scratch = database_on(Tree::Ours);
    let mut client = connector(&scratch).connect().unwrap();
    create_queue(&mut client, "q", "c");
    client
        .batch_execute(
            "select pgq.set_queue_config('q', 'max_retries', '1');
             select pgq.set_queue_config('q', 'retry_base', '0')",
        )
        .unwrap();
    (scratch, client)
}

/// Bring due retries back and tick.
fn redeliver(client: &mut Client) {
    while value(client, "select pgq.maint_retry_events()") != "0" {}
    tick(client, "q");
}

const FAIL_AT_TWO: &str =
    r#"read -r line; case $line in *'"payload":"2"'*) echo password=QXZ >&2; exit 1;; esac"#;

#[test]
fn key_and_headers_go_in_and_come_out() {
    let (scratch, mut client) = prepare();
    succeed(&scratch, &["send", "q", "one", "-k", "k1", "--header", "a=1", "--header", "b=x=y"]);
    // What comes out can go in again.
    let sent = r#"{"msg_id":7,"type":"t","payload":"two","key":"k2","headers":{"c":"d"},"retry_count":3,"created_at":"x","extra3":null,"extra4":"e"}"#;
    let output = std::process::Command::new("sh")
        .args(["-c", "printf '%s\n' \"$1\" | \"$2\" send q --dsn \"$3\"", "sh", sent])
        .arg(pgq_tests::programs::programs().join("pgq"))
        .arg(dsn(&scratch))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(
        value(
            &mut client,
            "select string_agg(concat_ws('|', ev_extra1, ev_extra2, ev_extra4), ' ; ' order by ev_id)
               from pgq.event_template"
        ),
        r#"k1|{"a":"1","b":"x=y"} ; k2|{"c":"d"}|e"#
    );
    tick(&mut client, "q");
    let messages = json(&succeed(&scratch, &["consume", "q", "c", "--once", "--messages"]));
    assert_eq!(messages.len(), 2);
    let (one, two) = (&messages[0], &messages[1]);
    assert_eq!((&one["payload"], &one["key"]), (&"one".into(), &"k1".into()));
    assert_eq!(one["headers"], serde_json::json!({"a": "1", "b": "x=y"}));
    assert_eq!((&two["type"], &two["retry_count"]), (&"t".into(), &0.into()));
    for wrong in ["nothing", "=value"] {
        let refused = run(&scratch, &["send", "q", "x", "--header", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    }
}

#[test]
fn headers_that_are_no_json_are_a_string() {
    let (scratch, mut client) = prepare();
    client
        .query_one("select pgq.insert_event('q', 't', 'd', 'k', 'no json', '', '')", &[])
        .unwrap();
    tick(&mut client, "q");
    let mut consumer =
        Consumer::builder("q", "c").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
    let mut seen = Vec::new();
    consumer
        .run(|_, event| {
            seen.push((event.key().map(str::to_owned), event.headers().is_err()));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [(Some("k".to_owned()), true)]);
    client.query_one("select pgq.register_consumer_at('q', 'c', 1)", &[]).unwrap();
    let messages = json(&succeed(&scratch, &["consume", "q", "c", "--once", "--messages"]));
    assert_eq!(messages[0]["headers"], "no json");
}

#[test]
fn what_fails_goes_where_the_queue_says() {
    let (scratch, mut client) = prepare();
    insert_and_tick(&mut client, "q", 0, 5);
    let consume = ["consume", "q", "c", "--once", "--messages", "--exec", FAIL_AT_TWO];
    succeed(&scratch, &consume);
    assert_eq!(json(&succeed(&scratch, &["retry", "list", "--json"])).len(), 1);
    assert_eq!(succeed(&scratch, &["dead", "list", "q"]), "(none)\n");
    redeliver(&mut client);
    succeed(&scratch, &consume);

    let dead = json(&succeed(&scratch, &["dead", "list", "q", "--json"]));
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0]["consumer"], "c");
    assert_eq!(dead[0]["attempts"], 2);
    let why = dead[0]["error"].as_str().unwrap();
    assert!(why.contains("exit status: 1") && !why.contains("QXZ"), "{why}");
    assert_eq!(value(&mut client, "select count(*) from pgq.dead_letters('q', 'c')"), "1");
    let id = dead[0]["ev_id"].to_string();
    let shown = json(&succeed(&scratch, &["dead", "show", "q", &id, "--json"]));
    assert_eq!(shown[0]["ev_data"], "2");
    assert_eq!(run(&scratch, &["dead", "replay", "q", "99"]).status.code(), Some(4));

    // It comes again to its consumer alone, as if it had not failed.
    succeed(&scratch, &["consumer", "add", "q", "other"]);
    assert_eq!(succeed(&scratch, &["dead", "replay", "q", &id]), "1 replayed\n");
    redeliver(&mut client);
    let again = json(&succeed(&scratch, &["consume", "q", "c", "--once", "--messages"]));
    assert_eq!((again.len(), &again[0]["retry_count"]), (1, &0.into()));
    assert_eq!(succeed(&scratch, &["consume", "q", "other", "--once"]), "");
    assert_eq!(succeed(&scratch, &["dead", "list", "q"]), "(none)\n");
}

#[test]
fn letters_of_the_table_are_purged_by_name() {
    let (scratch, mut client) = prepare();
    client.batch_execute("select pgq.set_queue_config('q', 'max_retries', '0')").unwrap();
    succeed(&scratch, &["consumer", "add", "q", "d"]);
    insert_and_tick(&mut client, "q", 0, 3);
    for consumer in ["c", "d"] {
        succeed(&scratch, &["consume", "q", consumer, "--once", "--exec", "exit 3"]);
    }
    assert_eq!(list(&mut client, "q").unwrap().len(), 6);
    let ids =
        value(&mut client, "select string_agg(msg_id::text, ' ') from pgq.dead_letters('q', 'c')");
    let ids: Vec<_> = ids.split(' ').collect();
    assert_eq!(succeed(&scratch, &["dead", "purge", "q", ids[0], "--consumer", "c"]), "1 purged\n");
    assert_eq!(succeed(&scratch, &["dead", "purge", "q", ids[1]]), "2 purged\n");
    assert_eq!(
        succeed(&scratch, &["dead", "purge", "q", "--all", "--consumer", "d"]),
        "2 purged\n"
    );
    let left = list(&mut client, "q").unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].origin.consumer.as_str(), left[0].event.ev_data.as_deref()),
        ("c", Some("2"))
    );
    // Who decides sees each of them.
    let replayed = sort(&mut client, "q", Duration::ZERO, |_| Decision::Replay).unwrap();
    assert_eq!(replayed, 1);
}

#[test]
fn a_queue_may_hold_letters_and_have_some_of_its_own() {
    let (scratch, mut client) = prepare();
    client.batch_execute("select pgq.set_queue_config('q', 'max_retries', '0')").unwrap();
    insert_and_tick(&mut client, "q", 0, 2);
    // The consumer of q has a dead-letter queue, whose own consumer fails as well.
    let own = ["--max-attempts", "1", "--dead", "q.dead"];
    let consume = |queue, consumer, more: &[&str]| {
        let mut arguments = vec!["consume", queue, consumer, "--once", "--exec", "exit 3"];
        arguments.extend(more);
        succeed(&scratch, &arguments);
    };
    consume("q", "c", &own);
    assert_eq!(value(&mut client, "select count(*) from pgq.dead_letter"), "0");
    tick_always(&mut client);
    client
        .batch_execute(
            "select pgq.set_queue_config('q.dead', 'max_retries', '0');
             select pgq.subscribe('q.dead', 'alarm', '-infinity'); select pgq.ticker('q.dead')",
        )
        .unwrap();
    consume("q.dead", "alarm", &[]);
    let letters = json(&succeed(&scratch, &["dead", "list", "q.dead", "--json"]));
    let of = |consumer| letters.iter().filter(|letter| letter["consumer"] == consumer).count();
    assert_eq!((of("c"), of("alarm")), (2, 2), "{letters:#?}");
    assert_eq!(succeed(&scratch, &["dead", "purge", "q.dead", "--all"]), "4 purged\n");
}

#[test]
fn a_pause_that_the_handler_asks_for_is_kept() {
    let (scratch, mut client) = prepare();
    insert_and_tick(&mut client, "q", 0, 2);
    let mut consumer =
        Consumer::builder("q", "c").stop_when_empty(true).connect(&dsn(&scratch)).unwrap();
    let stats = consumer
        .run(|_, event| {
            Ok(match event.payload::<i32>()? {
                0 => Outcome::Retry(Duration::from_secs(3600)),
                _ => Outcome::Retry(Duration::MAX),
            })
        })
        .unwrap();
    assert_eq!((stats.events, stats.retried, stats.dead), (2, 2, 0));
    let waits = "select string_agg((ev_retry_after > now() + interval '59 minutes')::text, ' ')
                   from pgq.retry_queue";
    assert_eq!(value(&mut client, waits), "true true");
}

#[test]
fn a_member_of_a_group_gives_up_for_the_group() {
    let (scratch, mut client) = prepare();
    client
        .batch_execute(
            "create extension pgq_coop; select pgq.set_queue_config('q', 'max_retries', '0')",
        )
        .unwrap();
    let member = |more: &[&str]| {
        let mut arguments = vec!["consume", "q", "crew", "--cooperative", "one", "--once"];
        arguments.extend(more);
        succeed(&scratch, &arguments)
    };
    member(&["--register"]);
    insert_and_tick(&mut client, "q", 0, 3);
    member(&["--messages", "--exec", FAIL_AT_TWO]);
    assert_eq!(value(&mut client, "select consumer_name from pgq.dead_letters('q')"), "crew");
}

#[test]
fn a_server_that_has_no_settings_retries() {
    let scratch = database_on(Tree::Peer);
    let mut client = connector(&scratch).connect().unwrap();
    create_queue(&mut client, "q", "c");
    let key = NewEvent::new("t", "2").key("k").headers(&serde_json::Map::new());
    Producer::new("q").insert_event(&mut client, &key).unwrap();
    tick(&mut client, "q");
    succeed(&scratch, &["consume", "q", "c", "--once", "--messages", "--exec", FAIL_AT_TWO]);
    let waiting = "select ev_extra1 || ev_extra2 || ev_retry from pgq.retry_queue";
    assert_eq!(value(&mut client, waiting), "k{}1");
    let refused = run(&scratch, &["dead", "list", "q"]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let policy =
        OnFailure::Retry { backoff: Backoff::constant(Duration::ZERO), max_attempts: Some(2) };
    client.batch_execute("update pgq.retry_queue set ev_retry_after = now()").unwrap();
    redeliver(&mut client);
    Consumer::builder("q", "c")
        .stop_when_empty(true)
        .on_failure(policy)
        .dead_letter_queue("q.dead")
        .connect(&dsn(&scratch))
        .unwrap()
        .run(|_, _| -> Result<(), pgq_client::HandlerError> { Err("no".into()) })
        .unwrap();
    assert_eq!(list(&mut client, "q.dead").unwrap().len(), 1);
}
