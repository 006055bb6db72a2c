//! Names are never looked up where the caller, or somebody else, has a say.

use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

use crate::companions::full;
use pgq_tests::programs::{dsn, pgq};
use pgq_tests::query::{outcome, row, rows, run};

/// Functions without a `search_path` of their own, and why they need none.
const UNPINNED: &[(&str, &str)] = &[
    ("londiste._ask", "C; the statement is another server's"),
    ("londiste._check_location", "C, no SQL"),
    ("londiste._check_server_options", "C, no SQL"),
    ("londiste._workers_changed", "C, no SQL"),
    ("londiste.change_provider", "as wait_sync"),
    ("londiste.execute", "names in a script are its caller's; the rest is qualified"),
    ("londiste.wait_sync", "commits; everything in it is qualified"),
    ("pgq._announce", "C, no SQL"),
    ("pgq._batch_has_events", "C; as get_batch_events"),
    ("pgq._claim_unique", "C, no SQL"),
    ("pgq._delayed_changed", "C, no SQL"),
    ("pgq._event_table", "C, no SQL"),
    ("pgq._find_waiting", "C; waiting.sql is qualified"),
    ("pgq._full_xid", "expanded into its query, qualified"),
    ("pgq._has_ended", "names are qualified, no operators"),
    ("pgq._is_foreign_tick", "expanded into its query, qualified"),
    ("pgq._key_slot", "C, no SQL"),
    ("pgq._last_value", "C, no SQL"),
    ("pgq._lock", "C, no SQL"),
    ("pgq._lock_shared", "C, no SQL"),
    ("pgq._mark_dirty", "C, no SQL"),
    ("pgq._next_cron", "C, no SQL"),
    ("pgq._own_sequence", "C, no SQL"),
    ("pgq._page_end", "C; as get_batch_events, and the query in page.rs is qualified"),
    ("pgq._page_events", "as _page_end"),
    ("pgq._queue_changed", "C, no SQL"),
    ("pgq._rotation_period", "expanded into its query, qualified"),
    ("pgq._send_batch", "as insert_event"),
    ("pgq._sequence_value", "C, no SQL"),
    ("pgq._try_lock", "C, no SQL"),
    ("pgq._unlock", "C, no SQL"),
    ("pgq._wait_tick", "C, commits; its queries are qualified"),
    ("pgq._wake_waiters", "C, no SQL"),
    ("pgq._window_has_events", "C; as get_batch_events"),
    ("pgq._window_tables", "expanded into its query, qualified"),
    ("pgq._worker_control", "C, no SQL"),
    ("pgq._worker_databases", "C, no SQL"),
    ("pgq._worker_problems", "C, no SQL"),
    ("pgq._worker_server", "C, no SQL"),
    ("pgq._worker_waiters", "C, no SQL"),
    ("pgq.current_event_table", "C; the query in queue_cache.rs is qualified"),
    (
        "pgq.get_batch_cursor",
        "the caller's condition means what it means to the caller; the rest is qualified",
    ),
    ("pgq.get_batch_events", "C; open_batch.sql, span.sql and window_sql.rs are qualified"),
    (
        "pgq.insert_event",
        "C; the query in queue_cache.rs is qualified. With jsonb: expanded into its query, qualified",
    ),
    ("pgq.insert_event_raw", "as insert_event"),
    ("pgq.insert_events", "as insert_event"),
    ("pgq.jsontriga", "C; expressions in its arguments are the caller's"),
    ("pgq.logutriga", "as jsontriga"),
    ("pgq.send", "as insert_event"),
    ("pgq.send_batch", "expanded into its query, qualified"),
    ("pgq.seq_getval", "C, no SQL"),
    ("pgq.sqltriga", "as jsontriga"),
    ("pgq.wait_batch", "C, commits; its queries are qualified"),
    ("pgq.wait_receive", "commits; everything in it is qualified"),
];

#[test]
fn every_function_pins_its_search_path_or_says_why_not() {
    let (_database, mut client) = full();
    run(&mut client, "create extension londiste");
    let found = rows(
        &mut client,
        "select distinct p.pronamespace::regnamespace || '.' || p.proname
           from pg_proc p
          where p.pronamespace in (select extnamespace from pg_extension where extname like 'pgq%'
                                   union
                                   select oid from pg_namespace
                                    where nspname like 'pgq%' or nspname = 'londiste')
            and p.oid in (select objid from pg_depend
                           where deptype = 'e'
                             and classid = 'pg_proc'::regclass
                             and refobjid in (select oid from pg_extension
                                               where extname like 'pgq%' or extname = 'londiste'))
            and not coalesce(p.proconfig, '{}') && array['search_path=pg_catalog, pg_temp']
          order by 1",
    );
    let expected: Vec<_> = UNPINNED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(found, expected);
}

/// One session that uses everything; each statement by itself, since one may not be able to run in
/// a block.
const USE_OF_EVERYTHING: &str = include_str!("use_of_everything.sql");

/// Run all statements; the failures.
fn use_everything(client: &mut Client) -> Vec<String> {
    USE_OF_EVERYTHING
        .split(";\n")
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(|statement| (statement, outcome(client, statement)))
        .filter(|(_, outcome)| outcome.starts_with("ERROR"))
        .map(|(statement, outcome)| format!("{statement}: {outcome}"))
        .collect()
}

/// A database with tables that capture their changes, and the doubles in schema `trap`.
fn trapped_database() -> (Scratch, Client) {
    let (database, mut client) = full();
    run(
        &mut client,
        "create table public.plain (id integer primary key, v text);
         create table public.logged (id integer primary key, v text)",
    );
    for kind in ["jsontriga", "sqltriga", "logutriga"] {
        run(
            &mut client,
            &format!(
                "create trigger {kind} after insert or update or delete on public.logged
                     for each row execute function pgq.{kind}('triggers')"
            ),
        );
    }
    run(&mut client, include_str!("trap.sql"));
    (database, client)
}

#[test]
fn doubles_in_the_callers_search_path_are_never_taken() {
    // The default, where the doubles win by fitting better; and a path on which they come first.
    for path in ["trap", "trap, public, pg_catalog"] {
        let (database, mut client) = trapped_database();
        let mut victim = database.connect();
        run(&mut victim, &format!("select pg_catalog.set_config('search_path', '{path}', false)"));
        let failures = use_everything(&mut victim);
        assert_eq!(failures, Vec::<String>::new(), "search_path = {path}");
        assert_eq!(row(&mut client, "select is_called from trap.caught"), "f", "{path}");

        // The doubles work.
        run(&mut client, "set search_path = trap");
        for bait in ["format('%s', 'x'::pg_catalog.text)", "'x'::pg_catalog.text || 1"] {
            assert!(outcome(&mut client, &format!("select {bait}")).contains("trapped"), "{bait}");
        }
        assert_eq!(row(&mut client, "select is_called from trap.caught"), "t");
    }
}

/// The client does not set the path: with a pooler in between, it would be set for others. What it
/// sends names all with its schema.
#[test]
fn what_the_client_sends_takes_no_doubles() {
    // As above.
    for path in ["trap", "trap, public, pg_catalog"] {
        send_all_that_the_client_can(path);
    }
}

/// Have all kinds of commands done by a role with this path.
fn send_all_that_the_client_can(path: &str) {
    let (database, mut client) = trapped_database();
    let target = scratch_database();
    run(&mut target.connect(), include_str!("trap.sql"));
    run(
        &mut target.connect(),
        "create extension pgq_ext; create table public.copied (id integer primary key, v text)",
    );
    let victim = format!("{}_victim", database.name());
    run(
        &mut client,
        &format!(
            "create role {victim} login superuser; alter role {victim} set search_path = {path};
             create function public.take(pg_catalog.jsonb) returns void language sql
                 set search_path = pg_catalog as 'select';
             select pgq.create_queue('q'), pgq.create_queue('triggers');
             update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'"
        ),
    );
    run(
        &mut client,
        "select pgq.register_consumer('q', 'c'), pgq_coop.register_subconsumer('q', 'g', 'm')",
    );
    let to = dsn(&target).replace("user='postgres'", &format!("user='{victim}'"));
    let from = dsn(&database).replace("user='postgres'", &format!("user='{victim}'"));
    assert!(to.contains(&victim) && from.contains(&victim), "{to}");
    run(&mut client, "insert into public.logged values (1, 'a')");
    run(&mut target.connect(), "create table public.logged (id integer primary key, v text)");
    for arguments in [
        &["install", "--check"][..],
        &["queue", "create", "new"],
        &["queue", "set", "new", "ticker_max_lag=1s"],
        &["queue", "pause", "new"],
        &["queue", "resume", "new"],
        &["queue", "list"],
        &["queue", "show", "q"],
        &["consumer", "add", "q", "d"],
        &["consumer", "add", "triggers", "loader"],
        &["consumer", "list"],
        &["send", "q", "-t", "t", "d"],
        &["tail", "q", "--no-follow"],
        &["status"],
        &["top", "-n", "1"],
        &[
            "consume",
            "q",
            "c",
            "--once",
            "--dead",
            "letters",
            "--max-attempts",
            "1",
            "--exec",
            "exit 1",
        ],
        &["consume", "q", "d", "--once", "--filter", "true"],
        &["consume", "q", "g", "--cooperative", "m", "--once"],
        &["consume", "q", "by_sql", "--register", "--once", "--sql", "public.take"],
        &["dead", "list", "letters"],
        &["consumer", "seek", "q", "d", "--oldest"],
        &["consumer", "seek", "q", "d", "--tick", "1"],
        &["consumer", "seek", "q", "d", "--time", "1 microsecond ago"],
        &["consumer", "remove", "q", "d"],
        &["retry", "list", "q"],
        &["retry", "now", "q"],
        &["metrics"],
        &["move", "q", "mover", "--register", "--to", &to, "--once"],
        &["load", "triggers", "loader", "--to", &to, "--once"],
        &[
            "load",
            "triggers",
            "copier",
            "--register",
            "--copy",
            "--table",
            "public.logged=public.copied",
            "--to",
            &to,
            "--once",
        ],
        &["queue", "drop", "new"],
    ] {
        let output = pgq(arguments).env("PGQ_DSN", &from).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // 6: something is not healthy, here that no worker runs.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 6)), "{arguments:?}: {code:?} {said}");
        for (place, caught) in
            [("source", &mut database.connect()), ("target", &mut target.connect())]
        {
            let caught = row(caught, "select is_called from trap.caught");
            assert_eq!(caught, "f", "{place}, {path}: {arguments:?}: {said}");
        }
        // A tick for whoever waits for one.
        run(&mut client, "select pgq.ticker()");
    }
    run(&mut client, &format!("drop role {victim}"));
}

#[test]
fn the_condition_of_a_cursor_is_the_callers() {
    let (_database, mut client) = full();
    run(
        &mut client,
        "select pgq.create_queue('q'); select pgq.register_consumer('q', 'c');
         create schema app;
         create function app.wanted(text) returns boolean language sql return $1 like 'b%';",
    );
    run(&mut client, "select pgq.insert_event('q', 'a', ''), pgq.insert_event('q', 'b', '')");
    run(&mut client, "select pgq.force_tick('q')");
    run(&mut client, "select pgq.ticker('q')");
    run(&mut client, "set search_path = app, public");
    let found = rows(
        &mut client,
        "begin; select ev_type from pgq.get_batch_cursor(pgq.next_batch('q', 'c'), 'events', 10, 'wanted(ev_type)'); commit",
    );
    assert_eq!(found, ["b"]);
}
