//! A takeover that is refused, fails or dies leaves the set as it was, or goes on where it was.

use pgq_tests::query::{row, rows, run};
use pgq_tests::{PATIENCE, wait_until};

use super::{Node, lose, refused, replace, restore, server, set_of};

const KIND: &str = "select node_type || ' ' || provider_node from pgq_node.get_node_info('rep')";
const KNOWN: &str = "select count(*) from pgq_node.node_location";
const DISABLED: &str = "select queue_disable_insert from pgq.queue";
const PAUSED: &str = "select paused from pgq_node.local_state";
const ATTRIBUTES: &str = "select coalesce(node_attrs, '-') from pgq_node.node_info";

/// The root is the root as before, and the workers of these nodes work.
fn assert_as_before(nodes: &[Node<'_>], said: &str) {
    assert_eq!(row(&mut nodes[0].connect(), KIND), "root root", "{said}");
    assert_eq!(row(&mut nodes[0].connect(), DISABLED), "f", "{said}");
    for node in nodes {
        assert_eq!(row(&mut node.connect(), PAUSED), "f", "{}: {said}", node.name());
        assert_eq!(row(&mut node.connect(), ATTRIBUTES), "-", "{}: {said}", node.name());
    }
}

#[test]
fn a_promotion_that_is_refused_leaves_the_root_and_its_workers_as_they_were() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [_, one] = &nodes[..] else { panic!("two nodes") };
    let promote = "q text, out ret_code int4, out ret_note text";
    let register = "q text, n text, w text, t int8,
                    out ret_code int4, out ret_note text, out global_watermark int8";
    let subscriber = "text, text, text, int8";
    for (name, types, head, body, words) in [
        ("promote_branch", "text", promote, "ret_code := 301; ret_note := 'no';", "no (code 301)"),
        ("promote_branch", "text", promote, "raise exception 'broken';", "broken"),
        // It is the root, and does not keep what the old one has yet to read.
        ("register_subscriber", subscriber, register, "raise exception 'not you';", "not you"),
    ] {
        replace(one, name, types, head, body);
        let (code, said) = refused(one, &["--timeout", "60", "takeover", "root"]);
        assert!(code == Some(1) && said.contains(words), "{said}");
        assert!(said.contains("node \"root\" stays the root"), "{said}");
        assert_eq!(row(&mut one.connect(), KIND), "branch root", "{said}");
        assert_as_before(&nodes, &said);
        restore(one, name, types);
    }
    one.londiste(&["takeover", "root"]);
    assert_eq!(row(&mut one.connect(), KIND), "root one");
    let place = "select subscriber_node, worker_name from pgq_node.subscriber_info";
    assert_eq!(rows(&mut one.connect(), place), ["root|root_worker"]);
}

#[test]
fn a_takeover_from_a_lost_root_goes_on_after_its_promotion() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch"), ("three", "leaf")]);
    for node in &nodes[1..] {
        node.wait_for(KNOWN, "4");
    }
    for node in &mut nodes[2..] {
        node.kill_worker();
    }
    // Who has more than the new root is left alone.
    for node in &nodes[2..] {
        let tick = "select coalesce(worker_last_tick, 0) from pgq_node.get_node_info('rep')";
        let has = format!(
            "select local_queue_top >= {} from pgq_node.get_worker_state('rep')",
            row(&mut node.connect(), tick)
        );
        nodes[1].wait_for(&has, "t");
    }
    lose(&nodes[0], &nodes[1]);
    let takeover = ["--timeout", "2", "takeover", "root", "--dead-root"];
    let (code, said) = refused(&nodes[1], &takeover);
    assert!(
        code == Some(1) && said.contains("is the root now; hint: run takeover again"),
        "{said}"
    );
    assert_eq!(row(&mut nodes[1].connect(), KIND), "root one");
    let place = "select worker_name, last_tick from pgq_node.subscriber_info
                   cross join pgq.get_consumer_info('rep', worker_name)
                  where subscriber_node = 'root'";
    let stone = row(&mut nodes[1].connect(), place);
    assert!(stone.starts_with("root.gravestone|"), "{stone}");
    // Time goes on.
    run(&mut nodes[1].connect(), "select pgq.force_tick('rep')");
    for node in &mut nodes[2..] {
        node.start_worker();
    }
    let takeover = ["takeover", "root", "--dead-root"];
    for _ in 0..2 {
        nodes[1].londiste(&takeover);
        for (node, kind) in nodes[1..].iter().zip(["root one", "branch one", "leaf one"]) {
            assert_eq!(row(&mut node.connect(), KIND), kind);
            node.wait_for("select dead from pgq_node.node_location where node_name = 'root'", "t");
        }
        assert_eq!(row(&mut nodes[1].connect(), place), stone);
    }
    // Who is the root for other reasons has not taken its place.
    nodes[2].londiste(&["takeover", "one"]);
    let (_, said) = refused(&nodes[2], &takeover);
    assert!(said.contains("is the root already, and has not taken the place"), "{said}");
}

#[test]
fn a_takeover_leaves_nodes_paused_that_an_administrator_has_paused() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    let [root, one, two] = &nodes[..] else { panic!("three nodes") };
    one.wait_for(KNOWN, "3");
    one.londiste(&["pause"]);
    let (code, said) = refused(one, &["takeover", "root"]);
    assert!(code == Some(1) && said.contains("of node \"one\" is paused; hint: resume"), "{said}");
    assert_eq!(row(&mut root.connect(), DISABLED), "f");
    one.londiste(&["resume"]);
    for node in [root, two] {
        node.londiste(&["pause"]);
    }
    let said = one.londiste(&["takeover", "root", "--all"]);
    for node in [root, two] {
        let words = format!("of node \"{}\" is paused, as before; hint: resume", node.name());
        assert!(said.contains(&words), "{said}");
        assert_eq!(row(&mut node.connect(), PAUSED), "t");
        assert_eq!(row(&mut node.connect(), KIND), "branch one");
    }
    assert_eq!(row(&mut one.connect(), PAUSED), "f");
    // What a command has begun, the administrator may end otherwise.
    run(&mut two.connect(), "select pgq_node.set_node_attrs('rep', 'paused_by=takeover&a=b')");
    two.londiste(&["pause"]);
    assert_eq!(row(&mut two.connect(), ATTRIBUTES), "a=b");
    two.londiste(&["change-provider", "--provider", "root"]);
    assert_eq!(row(&mut two.connect(), PAUSED), "t");
}

#[test]
fn a_takeover_that_was_killed_goes_on_from_where_it_was() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch")]);
    nodes[1].kill_worker();
    let mut command = nodes[1].command(&["takeover", "root"]).spawn().unwrap();
    nodes[0].wait_for(DISABLED, "t");
    let waits = "select count(*) from pgq_node.get_consumer_state('rep', 'root_worker')
                  where paused and uptodate";
    nodes[0].wait_for(waits, "1");
    command.kill().unwrap();
    command.wait().unwrap();
    assert_eq!(row(&mut nodes[0].connect(), ATTRIBUTES), "paused_by=takeover");
    // Killed later, when the new one was to pause, too.
    run(
        &mut nodes[1].connect(),
        "select pgq_node.set_consumer_paused('rep', 'one_worker', true),
                pgq_node.set_node_attrs('rep', 'paused_by=takeover')",
    );
    nodes[1].start_worker();
    nodes[1].londiste(&["takeover", "root"]);
    for (node, kind) in nodes.iter().zip(["branch one", "root one"]) {
        assert_eq!(row(&mut node.connect(), KIND), kind);
        assert_eq!(row(&mut node.connect(), PAUSED), "f");
        assert_eq!(row(&mut node.connect(), ATTRIBUTES), "-");
    }
    // Killed after the old root has become a branch.
    run(
        &mut nodes[0].connect(),
        "select pgq_node.set_consumer_paused('rep', 'root_worker', true),
                pgq_node.set_node_attrs('rep', 'paused_by=takeover')",
    );
    nodes[1].londiste(&["takeover", "root"]);
    let works = wait_until(PATIENCE, || row(&mut nodes[0].connect(), PAUSED) == "f");
    assert!(works && row(&mut nodes[0].connect(), ATTRIBUTES) == "-");
}
