//! What README and the documents tell a newcomer to do first, done literally: at once, and by
//! somebody who reads on between the steps. The server has default settings, and `pgq` in
//! `shared_preload_libraries`.
//!
//! Not run: `make install` (the tests have installed it), placeholders such as `DATABASE`, and
//! commands that change system directories.

mod document;
pub(crate) mod slow;

use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use pgq_tests::{Cluster, PATIENCE, wait_until};

use pgq_tests::programs::programs;

use document::{Command, blocks, transcript};

/// Where the documents are.
const README: &str = include_str!("../../../../README.md");
const CLIENT: &str = include_str!("../../../../docs/client.md");
const WORKER: &str = include_str!("../../../../docs/worker.md");

fn server() -> Cluster {
    Cluster::builder().set("shared_preload_libraries", "pgq").start()
}

/// Give the paragraphs of a block to one psql, as somebody at its prompt would, with a pause
/// between them; what it prints.
fn psql(cluster: &Cluster, block: &str, pause: Duration) -> String {
    let mut psql = cluster
        .command("psql")
        .args(["-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = psql.stdin.take().unwrap();
    for (number, paragraph) in block.split("\n\n").enumerate() {
        if number > 0 {
            // Pace: a reader's; the pause is what is tested.
            thread::sleep(pause);
        }
        // When psql has ended early its message says more than this.
        let _ = writeln!(input, "{paragraph}");
    }
    drop(input);
    let output = psql.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    // On a busy host the database's worker may need longer than the reader.
    let is_quiet = said.is_empty()
        || said.matches("NOTICE:").count() == 1 && said.starts_with("NOTICE:  no worker ");
    assert!(
        output.status.success() && is_quiet,
        "psql: {}\n{block}\n{printed}\n{said}",
        output.status
    );
    printed
}

/// README's quick start: the event that was inserted is in the first batch.
fn quick_start(pause: Duration) {
    let cluster = server();
    let found = blocks(README, "## Quick start");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("make install "), "{}", found[0]);
    let printed = psql(&cluster, &found[1], pause);
    assert_eq!(printed.matches("| paid ").count(), 1, "{printed}");
    assert_eq!(printed.matches("order=17").count(), 1, "{printed}");
    assert!(printed.contains("finish_batch \n--------------\n            1\n"), "{printed}");
    // And what the text says beside the block.
    for sentence in README.lines().filter(|line| line.contains("function pgq.logutriga")) {
        let trigger = sentence.split('`').nth(1).unwrap();
        let block =
            format!("create table t (id int primary key);\n{trigger};\ninsert into t values (1);");
        psql(&cluster, &block, Duration::ZERO);
        let counted = psql(
            &cluster,
            "select count(*) as inserts from pgq.event_1 where ev_type = 'I:id'",
            Duration::ZERO,
        );
        assert!(counted.contains("      1\n"), "{counted}");
    }
    let health = psql(&cluster, "select * from pgq.queue_health()", Duration::ZERO);
    assert!(health.contains("(0 rows)"), "{health}");
}

/// The first steps of docs/client.md, from `sh`: the commands say what the document says.
fn first_steps(pause: Duration) {
    let cluster = server();
    let block = &blocks(CLIENT, "## First steps")[0];
    let commands = transcript(block);
    assert!(commands.iter().any(|command| command.line.contains("--once")), "{block}");
    for Command { line, says } in &commands {
        if line.starts_with("pgq send") || line.contains("consume") {
            // Pace: a reader's; the pause is what is tested.
            thread::sleep(pause);
        }
        let said = shell(&cluster, line);
        let (said, says) = (plain(&said), plain(says));
        assert_eq!(said, says, "$ {line}");
    }
}

/// Run a line in a shell; its standard output.
fn shell(cluster: &Cluster, line: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut child = std::process::Command::new("sh")
        .args(["-ec", line])
        .env("PATH", format!("{}:{path}", programs().display()))
        .env("PGHOST", cluster.dir())
        .env("PGPORT", cluster.port().to_string())
        .env("PGUSER", "postgres")
        .env("PGDATABASE", "postgres")
        .env("HOME", "/nonexistent")
        .env_remove("PGQ_DSN")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "$ {line}: {status}\n{said}");
    said
}

/// Without what differs from run to run: numbers become N, and the width of columns is of no
/// matter.
fn plain(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut plain = String::new();
        for word in line.split_whitespace() {
            plain.push(' ');
            for letter in word.chars() {
                match letter {
                    '0'..='9' if plain.ends_with('N') => {}
                    '0'..='9' => plain.push('N'),
                    letter => plain.push(letter),
                }
            }
        }
        lines.push(plain);
    }
    lines
}

#[test]
fn quick_start_of_readme_works_at_once() {
    slow::begin_with_the_suite();
    quick_start(Duration::ZERO);
}

#[test]
fn first_steps_of_the_client_work_at_once() {
    first_steps(Duration::ZERO);
}

#[test]
fn first_lines_about_the_worker_work() {
    let cluster = server();
    let block = &blocks(WORKER, "# The worker")[0];
    let (settings, sql) = block.split_once("\n\n").unwrap();
    assert!(sql.contains("a moment later"), "{sql}");
    assert_eq!(settings, "# postgresql.conf\nshared_preload_libraries = 'pgq'");
    let mut printed = psql(&cluster, sql, Duration::ZERO);
    assert!(printed.contains("database_name"), "{printed}");
    // "A moment later", the document says.
    let status = sql.lines().last().unwrap();
    let running = wait_until(PATIENCE, || {
        printed = psql(&cluster, status, Duration::ZERO);
        printed.contains("(1 row)")
    });
    assert!(running, "{printed}");
}
