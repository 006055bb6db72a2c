//! Ctrl-C ends a command at once, and it leaves nothing.

use std::process::{Child, Command, Stdio};

use pgq_tests::query::{row, rows, run};
use pgq_tests::{PATIENCE, wait_until};

use super::{Node, server, set_of};

const DISABLED: &str = "select queue_disable_insert from pgq.queue";
/// A copy that was killed as it ended has a row, too.
const PAUSED: &str = "select s.paused from pgq_node.local_state s
                        join pgq_node.node_info n on s.consumer_name = n.worker_name";

fn begin(node: &Node<'_>, arguments: &[&str]) -> Child {
    let mut command = node.command(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
}

/// Interrupt it, and see it end; what it said.
fn interrupt(command: Child) -> String {
    signal("-INT", &command.id().to_string());
    let output = command.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    said
}

#[test]
fn a_takeover_that_waits_is_given_up() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch")]);
    nodes[1].kill_worker();
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    for _ in 0..2 {
        let command = begin(one, &["takeover", "root"]);
        root.wait_for(DISABLED, "t");
        let said = interrupt(command);
        assert!(said.contains("node \"root\" stays the root"), "{said}");
        assert!(said.contains("worker \"root_worker\" of node \"root\" goes on"), "{said}");
        assert_eq!(row(&mut root.connect(), DISABLED), "f", "{said}");
        assert_eq!(row(&mut root.connect(), PAUSED), "f", "{said}");
    }
    // While it waits in the server for one who writes.
    let mut writer = root.connect();
    run(&mut writer, "begin; select pgq.insert_event('rep', 't', 'd')");
    let command = begin(one, &["takeover", "root"]);
    let waits = "select count(*) from pg_locks where not granted and mode = 'ExclusiveLock'
                    and database = (select oid from pg_database where datname = 'root')";
    root.wait_for(waits, "1");
    let said = interrupt(command);
    assert!(!said.contains("does not answer"), "{said}");
    assert_eq!(row(&mut root.connect(), DISABLED), "f", "{said}");
    run(&mut writer, "commit");
}

#[test]
fn a_server_that_hangs_does_not_keep_a_command() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch")]);
    nodes[1].kill_worker();
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    let command = begin(one, &["takeover", "root"]);
    root.wait_for(DISABLED, "t");
    // It asks the node again and again.
    let mut locks = one.connect();
    run(&mut locks, "begin; lock table pgq_node.node_info");
    let session = "select pid from pg_stat_activity
                    where datname = 'one' and application_name = 'one_worker'
                      and wait_event_type = 'Lock'";
    let mut client = one.connect();
    assert!(wait_until(PATIENCE, || !rows(&mut client, session).is_empty()));
    let pid = row(&mut client, session);
    signal("-STOP", &pid);
    let said = interrupt(command);
    assert!(said.contains("a server does not answer"), "{said}");
    assert!(said.contains("node \"root\" stays the root"), "{said}");
    assert_eq!(row(&mut root.connect(), DISABLED), "f", "{said}");
    assert_eq!(row(&mut root.connect(), PAUSED), "f", "{said}");
    signal("-CONT", &pid);
}

#[test]
fn what_waits_for_workers_ends_and_leaves_them_alone() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("leaf", "leaf")]);
    for node in &nodes {
        run(&mut node.connect(), "create table t (id int primary key)");
        node.londiste(&["add-table", "t"]);
    }
    nodes[2].wait_until_in_sync();
    nodes[2].wait_for("select count(*) from pgq_node.node_location", "3");
    nodes[2].kill_worker();
    let leaf = &nodes[2];
    let command = begin(leaf, &["change-provider", "--provider", "one"]);
    leaf.wait_for(PAUSED, "t");
    interrupt(command);
    assert_eq!(row(&mut leaf.connect(), PAUSED), "f");
    let command = begin(leaf, &["compare", "--force"]);
    let looks = "select count(*) from pg_stat_activity
                  where datname = 'leaf' and application_name = 'leaf_worker'";
    let mut client = leaf.connect();
    // One looks at the node, and one at the rows.
    let began = wait_until(PATIENCE, || row(&mut client, looks) == "2");
    assert!(began);
    interrupt(command);
    leaf.wait_for(looks, "0");
}
