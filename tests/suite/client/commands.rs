//! The `pgq` command: what it prints, what it does, and its exit codes.

use std::io::Write;
use std::process::Stdio;

use pgq_tests::Tree;

use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, programs, run, stderr, succeed, tick,
    tick_always, value,
};

/// Run with this text on standard input.
fn feed(command: &mut std::process::Command, input: &str) -> std::process::Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn queues_and_consumers_are_administered() {
    let scratch = database_on(Tree::Ours);
    assert_eq!(
        succeed(&scratch, &["queue", "create", "a b'c", "ticker_max_lag=2 seconds"]),
        "queue \"a b'c\" created\n"
    );
    assert!(succeed(&scratch, &["queue", "create", "a b'c"]).contains("exists already"));
    succeed(&scratch, &["consumer", "add", "a b'c", "c"]);
    let list = json(&succeed(&scratch, &["queue", "list", "--json"]));
    assert_eq!(list[0]["queue"], "a b'c");
    assert_eq!(list[0]["consumers"], 1);
    let show = json(&succeed(&scratch, &["queue", "show", "a b'c", "--json"]));
    let lag = show.iter().find(|row| row["setting"] == "queue_ticker_max_lag").unwrap();
    assert_eq!(lag["value"], "00:00:02");
    succeed(&scratch, &["queue", "pause", "a b'c"]);
    assert_eq!(json(&succeed(&scratch, &["queue", "list", "--json"]))[0]["paused"], true);
    succeed(&scratch, &["queue", "resume", "a b'c"]);

    // A wrong setting changes nothing, not even those before it.
    let bad = run(&scratch, &["queue", "set", "a b'c", "ticker_max_lag=9 s", "nonsense=1"]);
    assert_eq!(bad.status.code(), Some(1), "{}", stderr(&bad));
    let mut client = scratch.connect();
    assert_eq!(value(&mut client, "select queue_ticker_max_lag from pgq.queue"), "00:00:02");

    let refused = run(&scratch, &["queue", "drop", "a b'c"]);
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    succeed(&scratch, &["consumer", "remove", "a b'c", "c"]);
    assert_eq!(run(&scratch, &["consumer", "remove", "a b'c", "c"]).status.code(), Some(4));
    succeed(&scratch, &["queue", "drop", "a b'c"]);
    assert_eq!(succeed(&scratch, &["queue", "list"]), "(none)\n");
}

#[test]
fn exit_codes_are_as_documented() {
    let scratch = database_on(Tree::Ours);
    let code = |arguments: &[&str]| {
        let output = run(&scratch, arguments);
        let words = stderr(&output);
        // One message, not a scroll.
        assert!(words.lines().count() <= 1 || output.status.code() == Some(2), "{words}");
        output.status.code().unwrap()
    };
    assert_eq!(code(&["queue", "list"]), 0);
    assert_eq!(code(&["queue", "lsit"]), 2);
    assert_eq!(code(&["queue", "list", "--dsn", "host=a hots=b"]), 2);
    assert_eq!(code(&["run", "/nonexistent.ini"]), 2);
    assert_eq!(code(&["queue", "list", "--dsn", "host=127.0.0.1 port=1"]), 3);
    assert_eq!(code(&["queue", "list", "--dsn", "host=/nonexistent"]), 3);
    for arguments in [
        &["send", "nowhere", "x"][..],
        &["queue", "show", "nowhere"],
        &["queue", "drop", "nowhere"],
        &["consume", "nowhere", "c", "--once"],
        &["consumer", "seek", "nowhere", "c", "--oldest"],
        &["tail", "nowhere", "--no-follow"],
        &["dead", "list", "nowhere"],
    ] {
        assert_eq!(code(arguments), 4, "{arguments:?}");
    }
    let empty = pgq_tests::scratch_database_on(Tree::Ours);
    assert_eq!(run(&empty, &["queue", "list"]).status.code(), Some(8));
    assert_eq!(run(&empty, &["install", "--check"]).status.code(), Some(8));
    assert_eq!(run(&empty, &["install", "--with", "pgq_ext,pgq_coop"]).status.code(), Some(0));
    assert_eq!(run(&empty, &["install", "--check"]).status.code(), Some(0));

    scratch.connect().batch_execute("do $$ begin create role pgq_nobody login; exception when duplicate_object then null; end $$").unwrap();
    let nobody = scratch.cluster().conninfo_as(scratch.name(), "pgq_nobody");
    assert_eq!(code(&["queue", "create", "q", "--dsn", &nobody]), 5);
}

#[test]
fn send_takes_arguments_json_csv_and_lines() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    let send = |arguments: &[&str], input: &str| {
        let mut command = pgq(&["send", "q"]);
        feed(command.args(arguments).env("PGQ_DSN", dsn(&scratch)), input)
    };
    succeed(&scratch, &["send", "q", "argument", "--type", "t", "--extra4", "4"]);
    let json_input = "{\"type\":\"j\",\"data\":{\"n\":1},\"extra1\":null}\n\n{\"ev_data\":\"text\",\"ev_id\":7}\n";
    assert!(send(&["--type", "default"], json_input).status.success());
    assert!(send(&["-f", "csv"], "type,data,extra2\nc,\"a,\"\"b\",\nd,,x\n").status.success());
    assert!(send(&["-f", "lines", "-t", "l"], "one\n\nthree\n").status.success());
    tick(&mut client, "q");
    let events = json(&succeed(&scratch, &["consume", "q", "c", "--once"]));
    let brief: Vec<_> = events
        .iter()
        .map(|event| format!("{}|{}|{}", event["ev_type"], event["ev_data"], event["ev_extra2"]))
        .collect();
    assert_eq!(
        brief,
        [
            "\"t\"|\"argument\"|null",
            "\"j\"|\"{\\\"n\\\":1}\"|null",
            "\"default\"|\"text\"|null",
            "\"c\"|\"a,\\\"b\"|null",
            "\"d\"|null|\"x\"",
            "\"l\"|\"one\"|null",
            "\"l\"|\"\"|null",
            "\"l\"|\"three\"|null",
        ]
    );
    assert_eq!(events[0]["ev_extra4"], "4");

    // All or nothing, and the line is named.
    let bad = send(&[], "{\"data\":\"x\"}\n{\"data\":\n");
    assert_eq!(bad.status.code(), Some(2));
    assert!(stderr(&bad).contains("line 2"), "{}", stderr(&bad));
    tick(&mut client, "q");
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]), "");

    // Parts that were committed stay.
    let mut many: String = (0..25).map(|n| format!("{{\"data\":\"{n}\"}}\n")).collect();
    many.push_str("broken\n");
    assert_eq!(send(&["--commit-every", "10"], &many).status.code(), Some(2));
    assert_eq!(
        value(
            &mut client,
            "select count(*) % 10 from pgq.event_template where ev_type is null and ev_data ~ '^[0-9]'"
        ),
        "0"
    );
}

#[test]
fn large_input_is_sent_and_comes_back_the_same() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    let input: String =
        (0..60_000).map(|n| format!("{{\"type\":\"t\",\"data\":\"{n}\"}}\n")).collect();
    let output = feed(pgq(&["send", "q", "--json"]).env("PGQ_DSN", dsn(&scratch)), &input);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(json(&String::from_utf8_lossy(&output.stdout))[0]["events"], 60_000);
    assert_eq!(stderr(&output), "", "no progress bar where there is no terminal");
    tick(&mut client, "q");
    let back = succeed(&scratch, &["consume", "q", "c", "--once"]);
    assert_eq!(back.lines().count(), 60_000);
    for (n, event) in json(&back).iter().enumerate() {
        assert_eq!(event["ev_data"], n.to_string());
    }
}

#[test]
fn seek_says_what_comes_again() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 10);
    succeed(&scratch, &["consume", "q", "c", "--once"]);
    let middle = value(&mut client, "select clock_timestamp()");
    insert_and_tick(&mut client, "q", 10, 30);
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 20);

    let dry = json(&succeed(
        &scratch,
        &["consumer", "seek", "q", "c", "--time", &middle, "--dry-run", "--json"],
    ));
    assert_eq!(dry[0]["events_again"], 20);
    assert_eq!(dry[0]["dry_run"], true);
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]), "");

    succeed(&scratch, &["consumer", "seek", "q", "c", "--time", &middle]);
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 20);
    succeed(&scratch, &["consumer", "seek", "q", "c", "--tick", "1"]);
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 30);
    succeed(&scratch, &["consumer", "seek", "q", "c", "--oldest"]);
    let skipped = succeed(&scratch, &["consumer", "seek", "q", "c", "--newest"]);
    assert!(skipped.contains("events are skipped"), "{skipped}");
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]), "");
    let none = run(&scratch, &["consumer", "seek", "q", "c", "--tick", "12345"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(stderr(&none).contains("no tick 12345"), "{}", stderr(&none));
}

#[test]
fn consumers_start_where_they_are_told_and_members_come_and_go() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 10);
    succeed(&scratch, &["consume", "q", "c", "--once"]);
    insert_and_tick(&mut client, "q", 10, 15);
    assert_eq!(
        succeed(&scratch, &["consumer", "add", "q", "late", "--like", "c"]),
        "consumer \"late\" registered on queue \"q\"\n"
    );
    assert_eq!(succeed(&scratch, &["consume", "q", "late", "--once"]).lines().count(), 5);
    let moved = succeed(&scratch, &["consumer", "add", "q", "late", "--tick", "1"]);
    assert_eq!(moved, "consumer \"late\" moved to tick 1 on queue \"q\"\n");
    assert_eq!(succeed(&scratch, &["consume", "q", "late", "--once"]).lines().count(), 15);
    for wrong in [["--like", "nobody"], ["--tick", "999"]] {
        let output = run(&scratch, &[&["consumer", "add", "q", "x"][..], &wrong].concat());
        assert_eq!(output.status.code(), Some(4), "{wrong:?}: {}", stderr(&output));
    }

    client.batch_execute("create extension pgq_coop").unwrap();
    let member = |verb: &'static str, more: &[&str]| {
        run(&scratch, &[&["consumer", verb, "q", "crew", "--member", "one"][..], more].concat())
    };
    assert!(member("add", &[]).status.success());
    insert_and_tick(&mut client, "q", 15, 20);
    value(&mut client, "select pgq_coop.next_batch('q', 'crew', 'one')");
    let busy = member("remove", &[]);
    assert_eq!(busy.status.code(), Some(1), "{}", stderr(&busy));
    let removed = member("remove", &["--force"]);
    assert_eq!(
        String::from_utf8_lossy(&removed.stdout),
        "consumer \"crew.one\" removed from queue \"q\"\n"
    );
    assert_eq!(member("remove", &[]).status.code(), Some(4));
    // What it had goes to the next member.
    let rest = ["consume", "q", "crew", "--cooperative", "two", "--register", "--once"];
    assert_eq!(succeed(&scratch, &rest).lines().count(), 5);
}

#[test]
fn exit_code_of_a_command_decides_about_the_event() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 6);
    let script = r#"read -r line; case $line in *'"ev_data":"2"'*) echo no luck >&2; exit 1;; *'"ev_data":"4"'*) exit 75;; esac"#;
    let consume = [
        "consume",
        "q",
        "c",
        "--once",
        "--exec",
        script,
        "--retry-after",
        "0",
        "--max-attempts",
        "2",
        "--dead",
        "q.dead",
    ];
    let first = run(&scratch, &consume);
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(stderr(&first).contains("no luck"), "{}", stderr(&first));
    assert_eq!(json(&succeed(&scratch, &["retry", "list", "--json"])).len(), 2);
    tick_always(&mut client);
    succeed(&scratch, &["retry", "now", "q"]);
    tick(&mut client, "q");
    succeed(&scratch, &consume);

    let dead = json(&succeed(&scratch, &["dead", "list", "q.dead", "--json"]));
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0]["attempts"], 2);
    assert!(dead[0]["error"].as_str().unwrap().ends_with("no luck"), "{}", dead[0]);
    let id = dead[0]["ev_id"].to_string();
    let shown = json(&succeed(&scratch, &["dead", "show", "q.dead", &id, "--json"]));
    assert_eq!(shown[0]["ev_data"], "2");

    // Another consumer of the queue does not see what is replayed for this one.
    succeed(&scratch, &["consumer", "add", "q", "other"]);
    assert_eq!(succeed(&scratch, &["dead", "replay", "q.dead", &id]), "1 replayed\n");
    succeed(&scratch, &["retry", "now", "q"]);
    tick(&mut client, "q");
    let again = json(&succeed(&scratch, &["consume", "q", "c", "--once"]));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0]["ev_data"], "2");
    assert_eq!(again[0]["ev_id"].to_string(), id);
    assert_eq!(succeed(&scratch, &["consume", "q", "other", "--once"]), "");

    assert_eq!(json(&succeed(&scratch, &["dead", "list", "q.dead", "--json"])).len(), 1);
    assert_eq!(run(&scratch, &["dead", "purge", "q.dead", "99"]).status.code(), Some(4));
    assert_eq!(succeed(&scratch, &["dead", "purge", "q.dead", "--all"]), "1 purged\n");
    assert_eq!(succeed(&scratch, &["dead", "list", "q.dead", "--json"]), "");
}

#[test]
fn batch_command_and_function_handlers_work() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    client
        .batch_execute(
            "create table got (n int); create schema \"My s\";
             create function \"My s\".take(e jsonb) returns void language sql as
               $$ insert into got values ((e->>'ev_data')::int) $$",
        )
        .unwrap();
    insert_and_tick(&mut client, "q", 0, 50);
    succeed(&scratch, &["consume", "q", "c", "--once", "--sql", "\"My s\".take"]);
    assert_eq!(value(&mut client, "select count(*) || ' ' || sum(n) from got"), "50 1225");
    assert_eq!(
        run(&scratch, &["consume", "q", "c", "--once", "--sql", "nope"]).status.code(),
        Some(4)
    );

    insert_and_tick(&mut client, "q", 50, 20_050);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out");
    let script = format!("cat > '{}'", file.display());
    succeed(&scratch, &["consume", "q", "c", "--once", "--exec", &script, "--per-batch"]);
    let lines = json(&std::fs::read_to_string(&file).unwrap());
    assert_eq!(lines.len(), 20_000);

    // A failure with "stop" gives everything back.
    insert_and_tick(&mut client, "q", 0, 5);
    let stopped = run(&scratch, &["consume", "q", "c", "--exec", "exit 9", "--on-failure", "stop"]);
    assert_eq!(stopped.status.code(), Some(7), "{}", stderr(&stopped));
    assert_eq!(stderr(&stopped).lines().count(), 1, "{}", stderr(&stopped));
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 5);
}

#[test]
fn reader_that_goes_away_loses_nothing() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 50_000);
    let script = format!("'{}' consume q c | head -n 1", programs().join("pgq").display());
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {script}")])
        .env("PGQ_DSN", dsn(&scratch))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 50_000);

    insert_and_tick(&mut client, "q", 0, 5_000);
    let full = pgq(&["consume", "q", "c", "--once"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(full.status.code(), Some(7), "{}", stderr(&full));
    assert!(stderr(&full).contains("No space left"), "{}", stderr(&full));
    assert_eq!(succeed(&scratch, &["consume", "q", "c", "--once"]).lines().count(), 5_000);
}

#[test]
fn completions_and_man_pages_are_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let output = pgq(&["completions", shell]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("consume"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(pgq(&["man"]).arg(dir.path()).status().unwrap().success());
    for page in ["pgq.1", "pgq-queue-create.1", "pgq-load.1", "pgq-services.1"] {
        assert!(dir.path().join(page).exists(), "{page}");
    }
}

#[test]
fn passwords_are_not_printed() {
    for dsn in [
        "host=127.0.0.1 port=1 password=geheim123",
        "postgres://joe:geheim123@127.0.0.1:1/db",
        "postgres://joe:geheim123@127.0.0.1:1/db?nope=1",
        "host=127.0.0.1 password='geheim123",
        "host=127.0.0.1 port=x password=geheim123",
    ] {
        let output = pgq(&["queue", "list", "--dsn", dsn]).output().unwrap();
        assert!(!output.status.success());
        let words = stderr(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(!words.contains("geheim123"), "{words}");
    }
    let help = pgq(&["--help"]).env("PGQ_DSN", "password=geheim123").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("geheim123"));
}

#[test]
fn library_example_works_as_printed_in_the_documentation() {
    let scratch = pgq_tests::scratch_database_with_worker();
    let mut client = scratch.connect();
    client.batch_execute("create table balance (account text primary key, cents bigint)").unwrap();
    client.batch_execute("select pgq.create_queue('payments')").unwrap();
    let example = || {
        let output = std::process::Command::new(programs().join("examples/consumer"))
            .arg(dsn(&scratch))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // Each run gets the event that it sends itself.
    for cents in [250, 500] {
        assert_eq!(example(), "1 events in 1 batches\n");
        let balance = value(&mut client, "select account || ' ' || cents from balance");
        assert_eq!(balance, format!("alice {cents}"));
    }
}

#[test]
fn arguments_that_are_not_understood_are_repeated_without_passwords() {
    for argument in ["postgres://me:s3/cr et@host/db", "host=a pass%77ord=s3cr", "password='s3 cr'"]
    {
        for words in [vec![argument], vec!["queue", argument], vec!["queue", "list", argument]] {
            let output = pgq(&words).output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("***") && !said.contains("cr"), "{said}");
        }
    }
    let output = pgq(&["queue", "lists"]).output().unwrap();
    assert!(stderr(&output).contains("'lists'"), "{}", stderr(&output));
}
