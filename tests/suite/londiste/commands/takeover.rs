//! What keeps a takeover from leaving a set with two roots, or with none.

use pgq_tests::query::{row, rows, run};

use super::{Node, lose, refused, replace, restore, server, set_of};

const KIND: &str = "select node_type || ' ' || provider_node from pgq_node.get_node_info('rep')";
const KNOWN: &str = "select count(*) from pgq_node.node_location";
const DEAD: &str = "select node_name from pgq_node.node_location where dead";

const DEMOTE: &str = "text, int4, text";

fn replace_demote(node: &Node<'_>, body: &str) {
    let head = "q text, step int4, n text,
                out ret_code int4, out ret_note text, out last_tick int8";
    replace(node, "demote_root", DEMOTE, head, body);
}

#[test]
fn one_takeover_runs_at_a_time_whoever_runs_it() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    let [root, one, two] = &nodes[..] else { panic!("three nodes") };
    one.wait_for(KNOWN, "3");
    let mut other = root.connect();
    let lock = "pg_advisory_lock(hashtextextended('pgq londiste takeover rep', 0))";
    run(&mut other, &format!("select {lock}"));
    let (_, said) = refused(one, &["--timeout", "60", "takeover", "root"]);
    assert!(said.contains("another takeover runs at node \"root\""), "{said}");
    assert_eq!(row(&mut one.connect(), KIND), "branch root");
    let disabled = "select queue_disable_insert from pgq.queue";
    assert_eq!(row(&mut root.connect(), disabled), "f");
    drop(other);
    // So it is where the root is gone.
    let mut other = two.connect();
    run(&mut other, &format!("select {lock}"));
    lose(root, two);
    let (_, said) = refused(one, &["--timeout", "60", "takeover", "root", "--dead-root"]);
    assert!(said.contains("another takeover runs at node \"two\""), "{said}");
    assert_eq!(row(&mut one.connect(), KIND), "branch root");
}

#[test]
fn no_branch_is_promoted_before_the_old_root_is_demoted() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    let changed = "somebody else has changed node \"root\" meanwhile";
    for (body, words) in [
        ("ret_code := 301; ret_note := 'Node not root';", "Node not root (code 301)"),
        (
            "select r.* into ret_code, ret_note, last_tick from pgq_node.real(q, step, n) r;
             if step = 2 then last_tick := null; end if;",
            "node \"root\" does not say its last tick",
        ),
        (
            "select r.* into ret_code, ret_note, last_tick from pgq_node.real(q, step, n) r;
             if step = 2 then perform pgq_node.cancel_demote(q); end if;",
            changed,
        ),
        (
            "select r.* into ret_code, ret_note, last_tick from pgq_node.real(q, step, n) r;
             if step = 2 then perform pgq_node.real(q, step, n); end if;",
            changed,
        ),
    ] {
        replace_demote(root, body);
        let (code, said) = refused(one, &["--timeout", "60", "takeover", "root"]);
        assert!(code == Some(1) && said.contains(words), "{said}");
        assert_eq!(row(&mut one.connect(), KIND), "branch root", "{body}");
        assert_eq!(row(&mut root.connect(), KIND), "root root", "{body}");
        let disabled = "select queue_disable_insert from pgq.queue";
        assert_eq!(row(&mut root.connect(), disabled), "f", "{body}: {said}");
        restore(root, "demote_root", DEMOTE);
    }
    one.londiste(&["takeover", "root"]);
    assert_eq!(row(&mut one.connect(), KIND), "root one");
}

#[test]
fn a_root_that_lives_is_not_taken_for_dead() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    let [root, one, two] = &nodes[..] else { panic!("three nodes") };
    one.wait_for(KNOWN, "3");
    for (arguments, words) in [
        (["takeover", "two", "--dead-root"], "node \"two\" lives and is a branch"),
        (["takeover", "root", "--dead-root"], "node \"root\" lives and is a root; hint: "),
        (["takeover", "root", "--dead-branch"], "nobody knows from whom node \"root\" has read"),
    ] {
        let (_, said) = refused(one, &arguments);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    lose(two, root);
    let (_, said) = refused(one, &["takeover", "two", "--dead-root"]);
    assert!(said.contains("node \"root\" lives and is the root, not node \"two\""), "{said}");
    assert_eq!(row(&mut one.connect(), KIND), "branch root");
    for node in [root, one] {
        assert_eq!(rows(&mut node.connect(), DEAD), [""; 0]);
    }
}
