//! A stop of a consumer: one that waits in the server, and one whose handler is a program.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pgq_client::Consumer;
use pgq_tests::{PATIENCE, Scratch, Tree, wait_until};
use postgres::Client;

use crate::client::commands::json;
use crate::client::services::{ends, signal};
use pgq_tests::programs::{
    create_queue, database_on, dsn, insert_and_tick, pgq, programs, succeed, value,
};

/// A queue with some events, and a consumer that gives up at the first failure.
fn start(handler: &str, more: &[&str]) -> (Scratch, Client, Child) {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 3);
    let mut consume = vec!["consume", "q", "c", "--exec", handler];
    consume.extend(["--max-attempts", "1", "--dead", "q.dead"]);
    consume.extend(more);
    let child = pgq(&consume)
        .env("PGQ_DSN", dsn(&scratch))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    (scratch, client, child)
}

fn appears(path: &Path) {
    assert!(wait_until(PATIENCE, || path.exists()), "no {}", path.display());
}

fn kill(name: &str, target: &str) {
    assert!(Command::new("kill").args([name, "--", target]).status().unwrap().success());
}

/// As systemd does: to all processes of the service. The handler first, and the consumer once it
/// has seen that end. By one process: on a busy machine the start of another takes longer than a
/// consumer waits for the stop that belongs to such an end.
fn kill_both(name: &str, group: &str, consumer: u32) {
    let script = "kill -s $0 -- -$1 && while kill -0 $1 2>/dev/null; do :; done; kill -s $0 $2";
    let mut both = Command::new("timeout");
    both.args(["60", "sh", "-c", script, name, group, &consumer.to_string()]);
    assert!(both.status().unwrap().success());
}

/// Nothing failed: no attempt was used, and these events come again.
fn all_come_again(scratch: &Scratch, client: &mut Client, count: usize) {
    assert_eq!(value(client, "select count(*) from pgq.retry_queue"), "0");
    assert_eq!(succeed(scratch, &["dead", "list", "q.dead", "--json"]), "");
    let again = json(&succeed(scratch, &["consume", "q", "c", "--once"]));
    assert_eq!(again.len(), count);
    assert!(again.iter().all(|event| event["ev_retry"].is_null()), "{again:?}");
}

#[test]
fn ctrl_c_lets_the_handler_and_the_batch_finish() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let handler = format!(
        "cd '{}' && touch started && while [ ! -e go ]; do sleep 0.05; done && cat >> done",
        dir.path().display()
    );
    let (scratch, mut client, mut child) = start(&handler, &[]);
    appears(&at("started"));
    // As a terminal does: to the whole group.
    kill("-INT", &format!("-{}", child.id()));
    std::fs::write(at("go"), "").unwrap();
    assert_eq!(ends(&mut child), Some(0));
    assert_eq!(json(&std::fs::read_to_string(at("done")).unwrap()).len(), 3);
    all_come_again(&scratch, &mut client, 0);
}

#[test]
fn a_handler_that_the_stop_hits_too_has_not_failed() {
    for (name, more) in [("INT", &[][..]), ("TERM", &[]), ("TERM", &["--per-batch"])] {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let handler =
            format!("echo $$ > '{0}.new' && mv '{0}.new' '{0}' && exec sleep 600", pid.display());
        let (scratch, mut client, mut child) = start(&handler, more);
        appears(&pid);
        let group = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
        // A shell between two commands may lose a signal.
        let name_now =
            || std::fs::read_to_string(format!("/proc/{group}/comm")).unwrap_or_default();
        assert!(wait_until(PATIENCE, || name_now() == "sleep\n"), "{}", name_now());
        kill_both(name, &group, child.id());
        assert_eq!(ends(&mut child), Some(0), "{name} {more:?}");
        all_come_again(&scratch, &mut client, 3);
    }
}

#[test]
fn a_second_signal_kills_a_handler_that_does_not_end() {
    let dir = tempfile::tempdir().unwrap();
    let started = dir.path().join("started");
    let handler = format!("trap '' INT TERM; touch '{}'; sleep 600", started.display());
    let (scratch, mut client, mut child) = start(&handler, &[]);
    appears(&started);
    signal(&child, "INT");
    let still = || child_runs(child.id());
    assert!(still());
    signal(&child, "TERM");
    assert_eq!(ends(&mut child), Some(0));
    all_come_again(&scratch, &mut client, 3);
}

fn child_runs(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_failure_without_a_stop_still_counts() {
    let (scratch, mut client, mut child) = start("kill -TERM $$", &["--once"]);
    assert_eq!(ends(&mut child), Some(0));
    assert_eq!(json(&succeed(&scratch, &["dead", "list", "q.dead", "--json"])).len(), 3);
    assert_eq!(value(&mut client, "select count(*) from pgq.retry_queue"), "0");
}

#[test]
fn a_handler_that_wants_the_terminal_fails_instead_of_hanging() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 1);
    let program = programs().join("pgq");
    let consume = format!(
        "'{}' consume q c --once --exec 'read answer < /dev/tty' --max-attempts 1 --dead q.dead",
        program.display()
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &consume, "/dev/null"])
        .env("PGQ_DSN", dsn(&scratch))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ended = wait_until(PATIENCE, || child.try_wait().unwrap().is_some());
    let _ = child.kill();
    assert!(ended);
    let letters = succeed(&scratch, &["dead", "list", "q.dead", "--json"]);
    assert!(letters.contains("it wants to use the terminal"), "{letters}");
}

/// What it leaves behind keeps its standard error open.
#[test]
fn a_handler_that_leaves_a_process_behind_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    for more in [&["--once"][..], &["--once", "--per-batch"]] {
        let handler = format!("cat > /dev/null; sleep 3600 & echo $! >> '{}'", pids.display());
        let (scratch, mut client, mut child) = start(&handler, more);
        assert_eq!(ends(&mut child), Some(0), "{more:?}");
        all_come_again(&scratch, &mut client, 0);
    }
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        kill("-KILL", pid);
    }
}

/// Hands everything over to the server, but holds the statement with this text back until a cancel
/// request has gone through before it. The number of the port; and a receiver that hears when
/// the statement is held back, and when the request has gone.
fn overtaken(statement: &'static [u8], server: u16) -> (u16, mpsc::Receiver<()>) {
    const CANCEL_REQUEST: [u8; 8] = [0, 0, 0, 16, 4, 210, 22, 46];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (say, heard) = mpsc::channel();
    let (gone, release) = mpsc::channel();
    let mut release = Some(release);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
            let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let answers = thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            let (say, gone, mut release) = (say.clone(), gone.clone(), release.take());
            thread::spawn(move || {
                let mut space = [0; 65536];
                while let Ok(count @ 1..) = client.read(&mut space) {
                    let bytes = &space[..count];
                    if bytes.windows(statement.len()).any(|part| part == statement)
                        && let Some(release) = release.take()
                    {
                        say.send(()).unwrap();
                        release.recv().unwrap();
                    }
                    if server.write_all(bytes).is_err() {
                        break;
                    }
                    if bytes.starts_with(&CANCEL_REQUEST) {
                        // The server closes once it has taken it.
                        answers.join().unwrap();
                        let _ = (gone.send(()), say.send(()));
                        return;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    (port, heard)
}

#[test]
fn a_stop_that_overtakes_the_wait_still_ends_it() {
    let scratch = database_on(Tree::Ours);
    create_queue(&mut scratch.connect(), "q", "c");
    let (port, heard) = overtaken(b"call pgq.wait_batch", scratch.cluster().port());
    let dsn = format!(
        "host=127.0.0.1 port={port} user=postgres dbname={} sslmode=disable",
        scratch.name()
    );
    let mut consumer =
        Consumer::builder("q", "c").wait_timeout(Duration::from_secs(3600)).connect(&dsn).unwrap();
    let stop = consumer.stop_handle();
    let running = thread::spawn(move || consumer.run(|_, _| Ok(())));
    heard.recv_timeout(PATIENCE).unwrap();
    stop.after_batch();
    heard.recv_timeout(PATIENCE).unwrap();
    assert!(wait_until(PATIENCE, || running.is_finished()));
    running.join().unwrap().unwrap();
}
