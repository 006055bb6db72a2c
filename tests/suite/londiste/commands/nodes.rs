//! Nodes are made, shown, paused, waited for and dropped.

use pgq_tests::query::{row, rows, run};
use serde_json::Value;

use super::{Node, Program, refused, server, set_of};

#[test]
fn a_set_is_made_looked_at_and_taken_apart() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("branch", "branch"), ("leaf", "leaf")]);
    let [root, branch, leaf] = &mut nodes[..] else { panic!("three nodes") };
    run(
        &mut root.connect(),
        "create table t (id int primary key); select londiste.local_add_table('rep', 't')",
    );
    branch.wait_for("select table_name, local from londiste.get_table_list('rep')", "public.t|f");

    // Another time it says so and does nothing.
    let again = root.londiste(&["create-root", "root", &root.location()]);
    assert!(again.contains("is node \"root\" of queue \"rep\" already, a root"), "{again}");

    let info = leaf.londiste(&["node-info"]);
    for line in ["Node: leaf  Type: leaf  Queue: rep", "Status: OK", "Provider: root"] {
        assert!(info.contains(line), "{info}");
    }
    let members = leaf.londiste(&["members"]);
    for name in ["branch", "leaf", "root"] {
        assert!(members.lines().any(|line| line.starts_with(name)), "{members}");
    }
    let status = branch.londiste(&["status"]);
    for text in ["Queue: rep   Local node: branch", "root (root)", "  +--: branch (branch)"] {
        assert!(status.contains(text), "{status}");
    }
    assert!(status.contains("  +--: leaf (leaf)") && status.contains("Tables: 1/0/0"), "{status}");
    assert!(status.contains("Lag: ") && !status.contains("ERR"), "{status}");
    assert_eq!(branch.londiste(&["status", "--compact"]).lines().count(), 5);
    let status = branch.londiste(&["status", "--json"]);
    let objects: Vec<Value> =
        status.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<_> = objects
        .iter()
        .map(|object| [&object["node"], &object["type"], &object["tables_ok"]])
        .collect();
    assert_eq!(
        format!("{found:?}").replace("String", ""),
        "[[(\"branch\"), (\"branch\"), Number(0)], [(\"leaf\"), (\"leaf\"), Number(0)], \
         [(\"root\"), (\"root\"), Number(1)]]"
    );
    assert!(objects.iter().all(|object| object["lag"].is_number()), "{status}");
    let status = root.londiste(&["node-status"]);
    assert!(status.contains("Subscribers: branch, leaf") && status.contains("Tick: "), "{status}");

    // A worker that pauses takes nothing.
    assert!(leaf.londiste(&["pause"]).contains("worker \"leaf_worker\" of node \"leaf\" pauses"));
    assert!(leaf.londiste(&["status"]).contains(", PAUSED"));
    assert!(leaf.londiste(&["node-info"]).contains("Status: PAUSED"));
    leaf.londiste(&["resume"]);
    let before = "select worker_last_tick from pgq_node.get_node_info('rep')";
    let tick: i64 = row(&mut root.connect(), before).parse().unwrap();
    assert!(leaf.londiste(&["wait-root"]).contains("node \"leaf\" has tick "));
    branch.londiste(&["wait-provider"]);
    for node in [&*leaf, &*branch] {
        assert!(row(&mut node.connect(), before).parse::<i64>().unwrap() > tick);
    }
    assert!(root.londiste(&["wait-root"]).contains("nothing to wait for"));
    assert!(leaf.londiste(&["wait-sync"]).contains("0 tables in sync"));

    // A node that cannot be reached is shown as that, and the others all the same.
    run(&mut root.connect(), "alter database leaf allow_connections false");
    let status = root.londiste(&["status"]);
    assert!(status.contains("Node 'leaf' failure: ") && status.contains("leaf (dead)"), "{status}");
    assert!(status.contains("branch (branch)"), "{status}");
    let status = root.londiste(&["status", "--dead", "leaf"]);
    assert!(!status.contains("failure") && status.contains("leaf (dead)"), "{status}");
    run(&mut root.connect(), "alter database leaf allow_connections true");

    // Nodes are dropped, by themselves or by others.
    leaf.kill_worker();
    assert!(
        leaf.londiste(&["drop-node", "leaf"]).contains("node \"leaf\" of queue \"rep\" is dropped")
    );
    branch.kill_worker();
    root.londiste(&["drop-node", "branch"]);
    const LEFT: &str = "select node_name from pgq_node.node_location order by 1";
    assert_eq!(rows(&mut root.connect(), LEFT), ["root"]);
    for node in [&*leaf, &*branch] {
        assert_eq!(rows(&mut node.connect(), "select * from pgq_node.node_info"), [""; 0]);
        assert_eq!(rows(&mut node.connect(), LEFT), [""; 0]);
    }
}

#[test]
fn what_cannot_be_done_is_said_with_the_name_and_what_to_do() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("leaf", "leaf")]);
    let [root, leaf] = &nodes[..] else { panic!("two nodes") };
    let new = Node::new(&cluster, "new", Program::Ours);
    let (here, up, own) = (root.location(), leaf.location(), new.location());
    let secret = format!("{own} password=hunter2");
    let (from_root, from_leaf) = (format!("--provider={here}"), format!("--provider={up}"));
    let from_own = format!("--provider={own}");
    for (node, arguments, code, words) in [
        (&new, vec!["status"], 8, "extension londiste is not installed"),
        (&new, vec!["create-root"], 2, "node's name must be given, or node_name in the INI file"),
        (&new, vec!["create-root", "new"], 2, "public_node_location"),
        (&new, vec!["create-root", "new", &secret], 2, "of node \"new\" has a password"),
        (&new, vec!["create-root", "new", &here], 2, "leads to another database"),
        (&new, vec!["create-leaf", "new", &own], 2, "--provider, or initial_provider_location"),
        (&new, vec!["create-leaf", "new", &own, &from_leaf], 2, "node \"leaf\" is a leaf"),
        (&new, vec!["create-leaf", "leaf", &own, &from_root], 2, "has another node \"leaf\""),
        (&new, vec!["create-leaf", "new", &own, &from_own], 4, "is no node of queue \"rep\""),
        (&new, vec!["status"], 4, "no node of queue \"rep\""),
        (root, vec!["drop-node", "root"], 1, "node \"root\" has subscribers: leaf; hint: "),
        (root, vec!["drop-node", "nobody"], 4, "has no node \"nobody\""),
        (root, vec!["status", "--dead", "nobody"], 4, "has no node \"nobody\""),
        (root, vec!["rename-node", "a", "b"], 2, "unrecognized subcommand 'rename-node'"),
    ] {
        let (found, said) = refused(node, &arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // Nobody has heard of the attempts.
    let members =
        "select string_agg(node_name, ' ' order by node_name) from pgq_node.node_location";
    assert_eq!(row(&mut root.connect(), members), "leaf root");
}

#[test]
fn a_worker_that_does_not_run_is_not_waited_for_longer_than_said() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("leaf", "leaf")]);
    let leaf = &mut nodes[1];
    leaf.kill_worker();
    let (code, said) = refused(leaf, &["--timeout", "0.5", "pause"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("worker \"leaf_worker\" of node \"leaf\" to pause: does it run?"),
        "{said}"
    );
    // One command that changes something at a time; those that look do not mind.
    let mut waits = leaf.command(&["resume"]).spawn().unwrap();
    let file = leaf.ini().with_file_name("pid.admin");
    assert!(pgq_tests::wait_until(pgq_tests::PATIENCE, || file.exists()));
    let (code, said) = refused(leaf, &["pause"]);
    assert!(code == Some(2) && said.contains("pid.admin: another process is running"), "{said}");
    leaf.londiste(&["members"]);
    leaf.start_worker();
    assert!(waits.wait().unwrap().success());
}
