//! What the `pgq` command shows to people on terminals, and to programs.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use pgq_tests::{Cluster, PATIENCE, Tree, wait_until};

use crate::client::commands::json;
use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, programs, run, stderr, succeed, target,
    value,
};

/// A command on a terminal of its own, whose keys we press.
struct Typed {
    process: std::process::Child,
    shown: Arc<Mutex<String>>,
}

impl Typed {
    fn start(database: &str, command: &str) -> Self {
        let mut process = Command::new("script")
            .args(["--quiet", "--return", "--command", command, "/dev/null"])
            .env("PGQ_DSN", database)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = process.stdout.take().unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { process, shown }
    }

    fn shows(&self, words: &str) {
        let there = || self.shown.lock().unwrap().contains(words);
        let found = wait_until(PATIENCE, there);
        assert!(found, "no {words:?} in {:?}", self.shown.lock().unwrap());
        self.shown.lock().unwrap().clear();
    }

    fn press(&mut self, keys: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }
}

#[test]
fn top_is_a_screen_that_keys_move() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    for n in 0..40 {
        value(&mut client, &format!("select pgq.create_queue('queue{n:02}')"));
    }
    succeed(&scratch, &["queue", "pause", "queue03"]);
    let program = programs().join("pgq");
    let command = format!("stty rows 12 cols 60; '{}' top -i 0.3", program.display());
    let mut top = Typed::start(&dsn(&scratch), &command);
    // Another screen, findings in colour, a window's worth of lines, and how many there are
    // besides.
    top.shows("\x1b[?1049h");
    top.shows("\x1b[36minfo      queue03: the queue is paused");
    top.shows(" more lines");
    top.press("h");
    top.shows("sort by: lag, pending events, rate, name");
    top.press("h");
    top.press("s");
    top.press("jj\x1b[6~");
    top.shows("queue1");
    top.press("q");
    top.shows("\x1b[?1049l");
    assert!(top.process.wait().unwrap().success());
}

#[test]
fn status_has_colours_on_a_terminal_only() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    succeed(&scratch, &["queue", "pause", "q"]);
    let program = programs().join("pgq");
    for (variable, coloured) in [("", true), ("NO_COLOR=1 ", false)] {
        let command = format!("{variable}'{}' status; echo ready", program.display());
        let shown = Typed::start(&dsn(&scratch), &command);
        wait_until(PATIENCE, || shown.shown.lock().unwrap().contains("ready"));
        let text = shown.shown.lock().unwrap().clone();
        assert!(text.contains("the queue is paused"), "{text}");
        assert_eq!(text.contains("\x1b[36minfo"), coloured, "{text:?}");
    }
    let piped = run(&scratch, &["status"]);
    assert!(!String::from_utf8_lossy(&piped.stdout).contains('\x1b'));
}

#[test]
fn json_says_what_a_row_is_and_counts_time_in_seconds() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    succeed(&scratch, &["queue", "pause", "q"]);
    for arguments in [&["status", "--json"][..], &["top", "--json", "-n", "1"]] {
        let rows = json(&String::from_utf8_lossy(&run(&scratch, arguments).stdout));
        let of_kind = |kind: &str| rows.iter().filter(|row| row["kind"] == kind).count();
        assert_eq!((of_kind("queue"), of_kind("consumer")), (1, 1), "{rows:?}");
        assert!(rows.iter().all(|row| row["kind"].is_string()), "{rows:?}");
        let consumer = rows.iter().find(|row| row["kind"] == "consumer").unwrap();
        assert!(consumer["lag"].as_f64().unwrap() >= 0.0, "{consumer}");
    }
    insert_and_tick_later(&mut client);
    let waiting = json(&succeed(&scratch, &["retry", "list", "--json"]));
    let due = waiting[0]["due"].as_str().unwrap();
    assert!(due.len() == 24 && due.ends_with('Z') && due.contains('T'), "{due}");
}

/// An event that waits for a retry.
fn insert_and_tick_later(client: &mut postgres::Client) {
    value(client, "select pgq.resume_queue('q')");
    insert_and_tick(client, "q", 0, 1);
    let batch = value(client, "select pgq.next_batch('q', 'c')");
    value(
        client,
        &format!("select pgq.event_retry({batch}, ev_id, 3600) from pgq.get_batch_events({batch})"),
    );
    value(client, &format!("select pgq.finish_batch({batch})"));
}

#[test]
fn progress_moves_within_a_batch() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 30);
    let program = programs().join("pgq");
    let command =
        format!("'{}' consume q c --once --exec 'cat > /dev/null; sleep 0.1'", program.display());
    let shown = Typed::start(&dsn(&scratch), &command);
    // The total is known. It may be the steps of a sequence, which began at 1.
    wait_until(PATIENCE, || shown.shown.lock().unwrap().contains("30 events in 1"));
    let text = shown.shown.lock().unwrap().clone();
    let within = (1..29).any(|n| [29, 30].iter().any(|all| text.contains(&format!(" {n}/{all} "))));
    assert!(within, "{text:?}");
    assert!(!text.contains(".0000/s"), "{text:?}");
}

#[test]
fn output_that_nobody_takes_is_no_panic() {
    let scratch = database_on(Tree::Ours);
    for arguments in [&["completions", "bash"][..], &["queue", "list"], &["status"], &["metrics"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = pgq(arguments);
        let gone = command.env("PGQ_DSN", dsn(&scratch)).stdout(writer).output().unwrap();
        assert_eq!((gone.status.code(), &*stderr(&gone)), (Some(0), ""), "{arguments:?}");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = pgq(arguments).env("PGQ_DSN", dsn(&scratch)).stdout(full).output().unwrap();
        assert_eq!(full.status.code(), Some(7), "{arguments:?}: {}", stderr(&full));
    }
}

#[test]
fn times_are_given_as_people_say_them() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 5);
    client.batch_execute("update pgq.tick set tick_time = tick_time - interval '1 hour'").unwrap();
    insert_and_tick(&mut client, "q", 5, 15);
    for time in ["5 minutes ago", "-5min", "-00:05", "-1800s"] {
        let seek = ["consumer", "seek", "q", "c", "--time", time, "--dry-run", "--json"];
        let moved = json(&succeed(&scratch, &seek));
        assert_eq!(moved[0]["to_tick"], 2, "{time}");
        let at = moved[0]["to_time"].as_str().unwrap();
        assert!(at.contains('T') && at.ends_with('Z'), "{at}");
    }
    for (time, words) in [("5 minutes", "is not in the past"), ("soon", "invalid input syntax")] {
        let refused = run(&scratch, &["consumer", "seek", "q", "c", "--time", time]);
        assert!(!refused.status.success() && stderr(&refused).contains(words), "{time}");
    }
    succeed(&scratch, &["queue", "create", "other"]);
    succeed(&scratch, &["consumer", "add", "other", "x"]);
    let list = json(&succeed(&scratch, &["consumer", "list", "--queue", "other", "--json"]));
    assert_eq!(list.len(), 1);
    assert_eq!(list[0]["consumer"], "x");
}

#[test]
fn help_and_man_pages_have_order_values_and_examples() {
    let help = pgq(&["consume", "--help"]).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let at = |words: &str| help.find(words).unwrap_or_else(|| panic!("no {words}: {help}"));
    assert!(at("--once") < at("--exec") && at("--exec") < at("Options of every command:"));
    assert!(at("Options of every command:") < at("--dsn") && at("--dsn") < at("Examples:"));
    let dir = tempfile::tempdir().unwrap();
    assert!(pgq(&["man"]).arg(dir.path()).status().unwrap().success());
    let page = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let consume = page("pgq-consume.1");
    assert!(consume.contains(".SH EXAMPLES") && !consume.contains("EXTRA"), "{consume}");
    let synopsis = consume.split(".SH SYNOPSIS").nth(1).unwrap().split(".SH").next().unwrap();
    let synopsis = synopsis.replace('\\', "");
    assert!(synopsis.contains("[--dead QUEUE]") && synopsis.contains("[--once]"), "{synopsis}");
    assert!(!synopsis.contains("--dsn"), "{synopsis}");
    assert!(page("pgq.1").contains("EXIT STATUS"));
}

#[test]
fn errors_name_the_way_out() {
    let (here, (there, _far)) = (database_on(Tree::Ours), target("select pgq.create_queue('q')"));
    let mut client = here.connect();
    create_queue(&mut client, "q", "c");
    let lost = run(&here, &["consume", "q", "nobody", "--once"]);
    assert_eq!(lost.status.code(), Some(4));
    assert!(stderr(&lost).contains("pgq consumer add q nobody"), "{}", stderr(&lost));
    let attached = run(&here, &["queue", "drop", "q"]);
    assert!(stderr(&attached).contains("--force"), "{}", stderr(&attached));
    let to = dsn(&there);
    let transfer = ["move", "q", "c", "--once", "--to", &to];
    for n in 0..3 {
        insert_and_tick(&mut client, "q", n, n + 1);
        succeed(&here, &transfer);
    }
    succeed(&here, &["consumer", "seek", "q", "c", "--oldest"]);
    let lost = run(&here, &transfer);
    let words = stderr(&lost);
    assert!(words.contains("lost position") && words.contains("--reset"), "{words}");
}

#[test]
fn install_says_what_keeps_the_worker_away() {
    let cluster =
        Cluster::builder().set("shared_preload_libraries", "pgq").set("pgq.max_workers", 1).start();
    let mut client = cluster.connect("postgres");
    for sql in ["create extension pgq", "create database second", "create database plain"] {
        client.batch_execute(sql).unwrap();
    }
    let works = "select exists (select from pgq.worker_status() where state = 'running')";
    assert!(wait_until(PATIENCE, || value(&mut client, works) == "t"));
    let install = |database: &str, arguments: &[&str]| {
        let dsn = cluster.conninfo(database);
        let output = pgq(&["install"]).args(arguments).args(["--dsn", &dsn]).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    install("second", &[]);
    // The launcher takes a moment to find out.
    let mut said = String::new();
    let told = wait_until(PATIENCE, || {
        said = install("second", &["--check"]);
        said.contains("pgq.max_workers is used up")
    });
    assert!(told, "{said}");
    assert!(!said.contains("shared_preload_libraries"), "{said}");

    let said = install("plain", &["--only", "pgq_ext"]);
    assert!(said.contains("pgq_ext") && !said.contains("worker"), "{said}");
    let mut plain = cluster.connect("plain");
    let extensions = "select string_agg(extname, ' ' order by extname) from pg_extension";
    assert_eq!(value(&mut plain, extensions), "pgq_ext plpgsql");
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "a \"b\"", "c");
    insert_and_tick(&mut client, "a \"b\"", 0, 1);
    let text = succeed(&scratch, &["metrics"]);
    for line in [
        "# TYPE pgq_queue_events_total counter",
        "# TYPE pgq_consumer_lag_seconds gauge",
        "pgq_queue_paused{queue=\"a \\\"b\\\"\"} 0.0",
        "pgq_worker_up 0.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "no {line}: {text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let number = line.rsplit(' ').next().unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
    let old = database_on(Tree::Peer);
    assert_eq!(run(&old, &["metrics"]).status.code(), Some(8));
}
