//! What the `pgq` command shows: health, live figures, events that pass, progress.

use std::process::Stdio;

use pgq_tests::Tree;

use crate::client::commands::json;
use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, programs, run, stderr, succeed, tick,
    value,
};

/// Run a shell command on a terminal of its own; what the terminal shows.
fn on_terminal(scratch: &pgq_tests::Scratch, command: &str) -> String {
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", command, "/dev/null"])
        .env("PGQ_DSN", dsn(scratch))
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {shown}");
    shown
}

#[test]
fn long_work_shows_its_progress_on_a_terminal_only() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("rows");
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(&rows, lines).unwrap();
    let program = programs().join("pgq");
    let program = program.display();
    let send = format!("'{program}' send q -f lines <'{}'", rows.display());
    let shown = on_terminal(&scratch, &send);
    assert!(shown.contains("sent ") && shown.contains("20000 events"), "{shown:?}");
    tick(&mut client, "q");
    let consume = format!("'{program}' consume q c --once --exec 'cat >/dev/null' --per-batch");
    assert!(on_terminal(&scratch, &consume).contains("consumed "));

    insert_and_tick(&mut client, "q", 0, 10);
    let mut piped = pgq(&["consume", "q", "c", "--once", "--exec", "cat >/dev/null"]);
    let piped = piped.env("PGQ_DSN", dsn(&scratch)).output().unwrap();
    assert!(piped.status.success());
    assert_eq!(stderr(&piped), "pgq: 10 events in 1 batch\n");
    assert_eq!(piped.stdout.len(), 0);
}

#[test]
fn top_counts_what_goes_in_and_out() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    let mut top = pgq(&["top", "--json", "-i", "0.1"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(top.stdout.take().unwrap()));
    let mut figure = |name: &str, wanted: &dyn Fn(f64) -> bool| {
        let mut seen = Vec::new();
        for _ in 0..600 {
            let row: serde_json::Value =
                serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            if let Some(figure) = row.get(name).and_then(serde_json::Value::as_f64) {
                if wanted(figure) {
                    return;
                }
                seen.push(figure);
            }
        }
        panic!("no such {name}: {seen:?}");
    };
    figure("in_per_s", &|rate| rate == 0.0);
    insert_and_tick(&mut client, "q", 0, 500);
    figure("in_per_s", &|rate| rate > 0.0);
    // The estimate counts the sequence's steps, which may be one short in a queue that is new.
    figure("pending", &|events| events >= 499.0);
    succeed(&scratch, &["consume", "q", "c", "--once"]);
    figure("out_per_s", &|rate| rate > 0.0);
    figure("pending", &|events| events == 0.0);
    top.kill().unwrap();
    top.wait().unwrap();

    // The worker is among the rows where there is one.
    let scratch = pgq_tests::scratch_database_with_worker();
    let runs = || {
        let rows = json(&succeed(&scratch, &["top", "--json", "-n", "1"]));
        rows.iter().any(|row| row["database"] == scratch.name() && row["state"] == "running")
    };
    assert!(pgq_tests::wait_until(pgq_tests::PATIENCE, runs));
}

#[test]
fn tail_shows_committed_events_and_registers_nothing() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 20);
    let last = json(&succeed(&scratch, &["tail", "q", "-n", "3", "--no-follow"]));
    assert_eq!(last.len(), 3);
    assert_eq!(last[2]["ev_data"], "19");

    let mut child = pgq(&["tail", "q", "-n", "0", "--interval", "0.02"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    // It may look for the first time after some of these; it must show the last of them.
    let probe = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = scratch.connect();
            let mut n = 0;
            while !probe.load(std::sync::atomic::Ordering::SeqCst) {
                client
                    .execute("select pgq.insert_event('q', 'probe', $1)", &[&n.to_string()])
                    .unwrap();
                n += 1;
                // Pace: of the events.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        });
        let mut numbers = Vec::new();
        for _ in 0..20 {
            let line: serde_json::Value =
                serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            numbers.push(line["ev_data"].as_str().unwrap().parse::<i64>().unwrap());
        }
        probe.store(true, std::sync::atomic::Ordering::SeqCst);
        let first = numbers[0];
        assert_eq!(numbers, (first..first + 20).collect::<Vec<_>>(), "none left out, none twice");
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(value(&mut client, "select count(*) from pgq.consumer"), "1");
}

#[test]
fn status_and_top_show_trouble_and_numbers() {
    for tree in [Tree::Ours, Tree::Peer] {
        let scratch = database_on(tree);
        let mut client = scratch.connect();
        create_queue(&mut client, "q", "c");
        succeed(&scratch, &["queue", "pause", "q"]);
        let status = run(&scratch, &["status", "--json"]);
        let found = json(&String::from_utf8(status.stdout.clone()).unwrap());
        assert!(found.iter().any(|row| row["queue"] == "q"), "{found:?}");
        assert_eq!(status.status.code(), Some(6), "{found:?}");
        let top = succeed(&scratch, &["top", "-n", "2", "-i", "0.1"]);
        assert!(top.contains("in_per_s") && top.contains("out_per_s"), "{top}");
        assert!(!top.contains('\x1b'), "no terminal, no control characters");
    }
}

#[test]
fn status_and_top_show_members_and_nodes() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    client
        .batch_execute(
            "create extension pgq_coop; create extension pgq_node;
             select pgq.create_queue('shared');
             select pgq_coop.register_subconsumer('shared', 'crew', 'first');
             select pgq_node.register_location('cascade', 'home', 'dbname=home', false);
             select pgq_node.create_node('cascade', 'root', 'home', 'home_worker', null, null, \
             null);",
        )
        .unwrap();
    for arguments in [&["status"][..], &["top", "--count", "1"]] {
        let output = run(&scratch, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let has_row = |words: &[&str]| {
            text.lines().any(|line| {
                let cells: Vec<_> = line.split_whitespace().collect();
                words.iter().all(|word| cells.contains(word))
            })
        };
        assert!(has_row(&["shared", "crew", "first"]), "{arguments:?}: {text}");
        assert!(has_row(&["cascade", "home", "root"]), "{arguments:?}: {text}");
    }
}
