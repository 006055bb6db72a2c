//! What errors say beside their text, which is PgQ's: the object by its name, and what to do.

use pgq_tests::scratch_database;
use postgres::Client;

use pgq_tests::query::{rows, run};

/// Detail and hint of the error that a statement leads to.
fn advice(client: &mut Client, sql: &str) -> String {
    let Err(error) = client.batch_execute(sql) else { panic!("{sql} succeeded") };
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    format!("{} | {}", error.detail().unwrap_or_default(), error.hint().unwrap_or_default())
}

#[test]
fn errors_name_their_object_and_the_remedy() {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        "select pgq.create_queue('q'), pgq.create_queue('paused'), pgq.create_queue('external'), pgq.create_queue('empty');
         select pgq.register_consumer('q', 'mailer'), pgq.register_consumer('q', 'audit');
         select pgq.pause_queue('paused');
         select pgq.set_queue_config('external', 'external_ticker', 'true');
         delete from pgq.tick using pgq.queue where tick_queue = queue_id and queue_name = 'empty';
         create table keyless (a int);
         create trigger t after update on keyless for each row execute function pgq.logutriga('q');
         insert into keyless values (1)",
    );
    let no_queue = "There is no queue \"x\" in database";
    for (call, expected) in [
        ("drop_queue('q')", "Consumers of queue \"q\": \"audit\", \"mailer\"."),
        ("drop_queue('q')", "pgq.drop_queue('q', true) do so. What they have not read is lost."),
        ("drop_queue('x')", no_queue),
        ("drop_queue('Q ')", "There is \"q\"."),
        ("set_queue_config('x', 'ticker_max_lag', '1')", no_queue),
        ("set_queue_config('q', 'max_lags', '1')", "ticker_max_lag, ticker_idle_period"),
        ("set_queue_config('q', 'ticker_max_lag', null)", "\"ticker_max_lag\" needs a value"),
        ("pause_queue('x')", no_queue),
        ("resume_queue(null)", "The queue's name is NULL."),
        ("grant_perms('x')", no_queue),
        ("insert_event('x', 't', 'd')", "There is no queue \"x\""),
        ("current_event_table('x')", "There is no queue \"x\""),
        ("ticker('x')", no_queue),
        ("ticker('paused')", "pgq.resume_queue('paused')"),
        ("ticker('external')", "Queue \"external\" gets its ticks from"),
        ("ticker('q', 1, now(), 1)", "Queue \"q\" takes such ticks when external_ticker is set"),
        ("ticker('x', 1, now(), 1)", no_queue),
        ("register_consumer('x', 'c')", no_queue),
        ("register_consumer('x', 'c')", "Create it with pgq.create_queue()"),
        ("register_consumer('empty', 'c')", "pgq.ticker('empty')"),
        ("register_consumer_at('q', 'c', 77)", "Queue \"q\" has ticks 1 to 1."),
        ("register_consumer_at('empty', 'c', 77)", "Queue \"empty\" has no ticks."),
        ("next_batch('q', 'nobody')", "select pgq.register_consumer('q', 'nobody')"),
        ("next_batch('x', 'nobody')", no_queue),
        ("get_batch_events(9)", "Batch 9 is finished, or was never handed out"),
        ("batch_event_sql(9)", "Batch 9 is finished"),
        ("batch_event_tables(9)", "Batch 9 is finished"),
        ("event_retry(9, 1, 1)", "Batch 9 is finished"),
        ("batch_retry(9, 1)", "Batch 9 is finished"),
        (
            "event_retry_raw('q', 'c', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
            "Consumer \"c\" is not subscribed to queue \"q\"",
        ),
        (
            "event_retry_raw('x', 'c', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
            no_queue,
        ),
    ] {
        let found = advice(&mut client, &format!("select pgq.{call}"));
        assert!(found.contains(expected), "{call}: {found}");
    }
    let found = advice(&mut client, "update keyless set a = 2");
    assert!(found.contains("Give table public.keyless a primary key"), "{found}");
    let found = advice(&mut client, "begin isolation level repeatable read; select pgq.rebase()");
    assert!(found.contains("isolation level read committed"), "{found}");
}

#[test]
fn no_error_of_the_sql_functions_is_without_a_hint() {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        "create extension pgq_coop; create extension pgq_ext; create extension pgq_node;
         create extension londiste",
    );
    let sources = client
        .query(
            "select oid::regprocedure::text, prosrc from pg_proc
              where pronamespace::regnamespace::text in ('pgq', 'pgq_coop', 'pgq_ext',
                  'pgq_node', 'londiste')
                and prosrc ~ 'raise (exception|warning)' order by 1",
            &[],
        )
        .unwrap();
    let mut bare = Vec::new();
    for row in &sources {
        let (function, source): (String, String) = (row.get(0), row.get(1));
        for statement in source.split("raise ").skip(1) {
            let statement = statement.split(';').next().unwrap();
            let speaks = statement.starts_with("exception '") || statement.starts_with("warning '");
            // These say all there is to say.
            let is_plain = ["must not be null", "Negative new_events?"];
            if speaks
                && !statement.contains("hint =")
                && !is_plain.iter().any(|text| statement.contains(text))
            {
                bare.push(format!("{function}: {statement}"));
            }
        }
    }
    assert!(bare.is_empty(), "{bare:#?}");
    assert!(sources.len() > 20, "{} functions raise", sources.len());
}

#[test]
fn jsonb_is_taken_as_data_and_a_literal_is_text() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q')");
    for data in [
        "'{\"b\":1, \"a\":2}'",
        "'{\"b\":1, \"a\":2}'::jsonb",
        "jsonb_build_object('n', 1)",
        "null",
        "'x'::varchar",
    ] {
        run(&mut client, &format!("select pgq.insert_event('q', 't', {data})"));
    }
    // As a driver sends it that leaves types to the server.
    client.query("select pgq.insert_event($1, $2, $3)", &[&"q", &"t", &"sent"]).unwrap();
    assert_eq!(
        rows(&mut client, "select ev_data from pgq.event_1 order by ev_id"),
        ["{\"b\":1, \"a\":2}", "{\"a\": 2, \"b\": 1}", "{\"n\": 1}", "∅", "x", "sent"]
    );
    // It costs nothing: the planner sees the call of the text form only.
    let plan = rows(
        &mut client,
        "explain verbose select pgq.insert_event('q', 't', j) from (values ('1'::jsonb), ('2')) v (j)",
    );
    assert!(plan.join("\n").contains("::text)"), "{plan:?}");
}
