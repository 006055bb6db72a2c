//! SQLSTATEs of the errors that the functions of schema pgq raise: `docs/errors.md`.

use pgq_tests::scratch_database;

use pgq_tests::query::{outcome, rows, run};

#[test]
fn misuse_has_its_sqlstate_and_text() {
    let database = scratch_database();
    let mut client = database.connect();
    run(
        &mut client,
        "select pgq.create_queue('q'), pgq.create_queue('external'), pgq.create_queue('empty')",
    );
    run(
        &mut client,
        "select pgq.register_consumer('q', 'c'), pgq.register_consumer('external', 'lost')",
    );
    run(
        &mut client,
        "update pgq.queue set queue_external_ticker = true where queue_name = 'external'",
    );
    run(
        &mut client,
        "delete from pgq.tick where tick_queue in (select queue_id from pgq.queue where queue_name in ('external', 'empty'))",
    );
    run(&mut client, "select pgq.ticker('q')");
    run(
        &mut client,
        "select pgq.event_retry_raw('q', 'c', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
    );
    for (call, expected) in [
        ("create_queue(null)", "22004: Invalid NULL value"),
        ("drop_queue('x')", "42704: No such event queue"),
        ("drop_queue('q')", "55000: cannot drop queue, consumers still attached"),
        ("drop_queue('q', null)", "55000: cannot drop queue, consumers still attached"),
        ("set_queue_config(null, 'ticker_max_lag', '1')", "22004: Invalid NULL value"),
        ("set_queue_config('q', null, '1')", "22004: Invalid NULL value"),
        ("set_queue_config('x', 'ticker_max_lag', '1')", "42704: No such event queue"),
        (
            "set_queue_config('q', 'disable_insert', '1')",
            "22023: cannot change parameter \"disable_inserts\"",
        ),
        (
            "set_queue_config('q', 'ticker_max_lag', null)",
            "22004: query string argument of EXECUTE is null",
        ),
        (
            "set_queue_config('q', 'ticker_max_count', 'x')",
            "22P02: invalid input syntax for type integer: \"x\"",
        ),
        (
            "set_queue_config('q', 'ticker_max_count', '9999999999')",
            "22003: value \"9999999999\" is out of range for type integer",
        ),
        (
            "set_queue_config('q', 'ticker_max_lag', 'soon')",
            "22007: invalid input syntax for type interval: \"soon\"",
        ),
        (
            "set_queue_config('q', 'ticker_max_count', '0')",
            "22023: invalid value for parameter \"ticker_max_count\": \"0\"",
        ),
        (
            "set_queue_config('q', 'ticker_max_count', '-5')",
            "22023: invalid value for parameter \"ticker_max_count\": \"-5\"",
        ),
        (
            "set_queue_config('q', 'batch_max_count', '0')",
            "22023: invalid value for parameter \"batch_max_count\": \"0\"",
        ),
        (
            "set_queue_config('q', 'ticker_max_lag', '-1 s')",
            "22023: invalid value for parameter \"ticker_max_lag\": \"-1 s\"",
        ),
        (
            "set_queue_config('q', 'ticker_idle_period', '-1 s')",
            "22023: invalid value for parameter \"ticker_idle_period\": \"-1 s\"",
        ),
        (
            "set_queue_config('q', 'rotation_period', '-1 s')",
            "22023: invalid value for parameter \"rotation_period\": \"-1 s\"",
        ),
        (
            "set_queue_config('q', 'ticker_paused', 'perhaps')",
            "22P02: invalid input syntax for type boolean: \"perhaps\"",
        ),
        ("grant_perms('x')", "42704: Queue not found"),
        ("insert_event(null, 't', 'd')", "22004: Queue name must not be NULL"),
        ("insert_event('x', 't', 'd')", "42704: No such queue"),
        ("current_event_table('x')", "42704: Event queue not found"),
        ("register_consumer('x', 'c')", "42704: Event queue not created yet"),
        (
            "register_consumer('q', null)",
            "23502: null value in column \"co_name\" of relation \"consumer\" violates not-null constraint",
        ),
        (
            "register_consumer('empty', 'c')",
            "55000: No ticks for this queue.  Please run ticker on database.",
        ),
        ("register_consumer_at('q', 'c', 77)", "42704: cannot reposition, tick not found: 77"),
        ("next_batch('q', 'x')", "42704: Not subscriber to queue: q/x"),
        ("next_batch('x', null)", "42704: Not subscriber to queue: x/NULL"),
        (
            "next_batch('external', 'lost')",
            "XX001: PgQ corruption: Consumer lost on queue external does not see tick <NULL>",
        ),
        ("get_batch_events(9)", "42704: batch not found"),
        ("batch_event_sql(9)", "42704: batch not found"),
        ("batch_event_tables(9)", "42704: Cannot find data for batch 9"),
        ("get_batch_cursor(9, 'c', 1)", "42704: batch not found"),
        ("event_retry(9, 1, 1)", "42704: batch not found"),
        ("batch_retry(9, 1)", "42704: batch_retry: batch 9 not found"),
        (
            "event_retry_raw('q', 'x', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
            "42704: consumer not registered",
        ),
        (
            "event_retry_raw('q', 'c', now(), 1, now(), 1, 't', 'd', null, null, null, null)",
            "23505: duplicate key value violates unique constraint \"rq_pkey\"",
        ),
        ("ticker('x')", "42704: no such queue"),
        ("ticker('external')", "55000: This queue has external tick source."),
        ("ticker('q', 7, now(), 7)", "55000: queue not found or ticker disabled: q"),
        ("ticker('x', 7, now(), 7)", "55000: queue not found or ticker disabled: x"),
        ("seq_getval('nothing')", "42P01: relation \"public.nothing\" does not exist"),
    ] {
        assert_eq!(
            outcome(&mut client, &format!("select pgq.{call}")),
            format!("ERROR {expected}"),
            "{call}"
        );
    }
    run(&mut client, "select pgq.set_queue_config('q', 'ticker_paused', 'true')");
    assert_eq!(
        outcome(&mut client, "select pgq.ticker('q')"),
        "ERROR 55000: Ticker has been paused for this queue"
    );
    run(&mut client, "update pgq.queue set queue_disable_insert = true");
    assert_eq!(
        outcome(&mut client, "select pgq.insert_event('q', 't', 'd')"),
        "ERROR 55000: Insert into queue disallowed"
    );
    assert_eq!(
        outcome(&mut client, "select pgq.current_event_table('q')"),
        "ERROR 55000: Writing to queue disabled"
    );
    run(&mut client, "update pgq.queue set queue_disable_insert = false, queue_per_tx_limit = 1");
    assert_eq!(
        outcome(&mut client, "select pgq.insert_event('q', 't', 'd') from generate_series(1, 2)"),
        "ERROR 54000: Queue 'q' allows max 1 events from one TX"
    );
    run(&mut client, "begin isolation level repeatable read");
    assert_eq!(
        outcome(&mut client, "select pgq.rebase()"),
        "ERROR 25001: pgq.rebase must be called in a READ COMMITTED transaction"
    );
    run(&mut client, "rollback");
}

#[test]
fn settings_are_stored() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue('q')");
    for (name, value) in [
        ("ticker_max_count", "1"),
        ("ticker_max_lag", "00:00:00"),
        ("ticker_idle_period", "00:00:00"),
        ("ticker_paused", "true"),
        ("rotation_period", "3 days"),
        ("external_ticker", "true"),
        ("batch_max_count", "77"),
    ] {
        assert_eq!(
            outcome(&mut client, &format!("select pgq.set_queue_config('q', '{name}', '{value}')")),
            "1"
        );
        let stored = rows(&mut client, &format!("select queue_{name}::text from pgq.queue"));
        assert_eq!(stored, [value], "{name}");
    }
}

#[test]
fn a_library_path_without_the_servers_own_directory_is_an_error_that_says_so() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "drop extension pgq; set dynamic_library_path = '/nowhere'");
    let failed = outcome(&mut client, "create extension pgq");
    assert_eq!(failed, "ERROR 58P01: could not access file \"pgq\": No such file or directory");
    run(&mut client, "set dynamic_library_path = '/nowhere:$libdir'; create extension pgq");
    run(&mut client, "select pgq.create_queue('q'), pgq.insert_event('q', 't', 'd')");
}
