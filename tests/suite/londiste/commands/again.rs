//! Commands that gave up or were killed leave nothing behind, and take nothing of other nodes'.

use pgq_tests::query::{row, rows, run};

use super::{Node, Program, lose, refused, replace, restore, server, set_of};

const READERS: &str = "select subscriber_node from pgq_node.subscriber_info order by 1";
const PAUSED: &str = "select paused from pgq_node.local_state";
const KNOWN: &str = "select count(*) from pgq_node.node_location";

#[test]
fn a_takeover_that_goes_on_has_the_old_root_forget_its_subscriber() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    let demote = "from pgq_node.demote_root('rep', 1, 'one')";
    run(&mut root.connect(), &format!("select * {demote}"));
    let last = "select last_tick from pgq_node.demote_root('rep', 2, 'one')";
    let last = row(&mut root.connect(), last);
    let reached = format!("select worker_last_tick >= {last} from pgq_node.get_node_info('rep')");
    one.wait_for(&reached, "t");
    run(&mut one.connect(), "select pgq_node.promote_branch('rep')");
    // An older attempt has left the old root's place.
    one.wait_for(KNOWN, "2");
    let stale = "select pgq_node.register_subscriber('rep', 'root', 'root_worker', null)";
    run(&mut one.connect(), stale);
    one.londiste(&["takeover", "root"]);
    assert_eq!(rows(&mut root.connect(), READERS), [""; 0]);
    assert_eq!(rows(&mut one.connect(), READERS), ["root"]);
}

#[test]
fn a_change_of_provider_is_done_again_and_given_up() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("leaf", "leaf")]);
    {
        let [root, one, leaf] = &nodes[..] else { panic!("three nodes") };
        one.wait_for(KNOWN, "3");
        leaf.londiste(&["change-provider", "--provider", "one"]);
        // As when it is killed right after the change.
        let stale = "select pgq_node.register_subscriber('rep', 'leaf', 'leaf_worker', null)";
        run(&mut root.connect(), stale);
        run(&mut leaf.connect(), "update pgq_node.local_state set paused = true");
        let said = leaf.londiste(&["change-provider", "--provider", "one"]);
        assert!(said.contains("already") && said.contains("is paused"), "{said}");
        assert!(said.contains("hint: resume"), "{said}");
        assert_eq!(rows(&mut root.connect(), READERS), ["one"]);
        // What was paused stays so.
        leaf.londiste(&["change-provider", "--provider", "root"]);
        assert_eq!(row(&mut leaf.connect(), PAUSED), "t");
        leaf.londiste(&["resume"]);
    }
    nodes[2].kill_worker();
    let leaf = &nodes[2];
    let (_, said) = refused(leaf, &["--timeout", "0.5", "change-provider", "--provider", "one"]);
    assert!(said.contains("worker \"leaf_worker\" of node \"leaf\" to pause"), "{said}");
    assert_eq!(row(&mut leaf.connect(), PAUSED), "f");
}

#[test]
fn a_node_that_cannot_be_asked_is_not_dropped() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    let [root, one, two] = &nodes[..] else { panic!("three nodes") };
    for node in [one, two] {
        node.wait_for(KNOWN, "3");
    }
    two.londiste(&["change-provider", "--provider", "one"]);
    lose(one, root);
    let (_, said) = refused(root, &["drop-node", "one"]);
    assert!(said.contains("is not known; hint: --dead one"), "{said}");
    let (_, said) = refused(root, &["--dead", "one", "drop-node", "one"]);
    assert!(said.contains("node \"one\" has subscribers: two"), "{said}");
    assert_eq!(rows(&mut root.connect(), READERS), ["one"]);
    two.londiste(&["--dead", "one", "drop-node", "two"]);
    root.londiste(&["--dead", "one", "drop-node", "one"]);
    assert_eq!(row(&mut root.connect(), KNOWN), "1");
}

#[test]
fn a_node_that_cannot_be_dropped_is_still_known() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch"), ("leaf", "leaf")]);
    let [root, one, leaf] = &nodes[..] else { panic!("three nodes") };
    one.wait_for(KNOWN, "3");
    let head = "q text, n text, out ret_code int4, out ret_note text";
    let fail = |node| replace(node, "drop_node", "text, text", head, "raise exception 'broken';");
    fail(leaf);
    let (code, said) = refused(root, &["drop-node", "leaf"]);
    assert!(code == Some(1) && said.contains("nothing is dropped: "), "{said}");
    assert_eq!(row(&mut root.connect(), KNOWN), "3");
    assert_eq!(rows(&mut root.connect(), READERS), ["leaf", "one"]);
    restore(leaf, "drop_node", "text, text");
    // One who is not told hears of it by the root; the root does not.
    for (node, name) in [(one, "pgq_node.drop_node"), (root, "pgq_node.unregister_location")] {
        let kept = format!("alter function {name}(text, text) rename to kept");
        run(&mut node.connect(), &kept);
    }
    run(&mut root.connect(), "alter function pgq_node.drop_node(text, text) rename to kept_drop");
    let (code, said) = refused(one, &["drop-node", "leaf"]);
    assert!(code == Some(1) && said.contains("is dropped, and nodes that still know it"), "{said}");
    assert!(said.contains("not told: one, root; hint: "), "{said}");
    run(
        &mut root.connect(),
        "alter function pgq_node.kept_drop(text, text) rename to drop_node;
         alter function pgq_node.kept(text, text) rename to unregister_location",
    );
    root.londiste(&["drop-node", "leaf"]);
    assert_eq!(row(&mut root.connect(), KNOWN), "2");
    one.wait_for(KNOWN, "2");
}

#[test]
fn no_node_takes_another_ones_consumer() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    let new = Node::new(&cluster, "new", Program::Ours);
    run(&mut root.connect(), "select pgq.register_consumer('rep', 'ordinary')");
    let provider = format!("--provider={}", root.location());
    let places = "select consumer_name, sub_id from pgq.get_consumer_info('rep') c
                    join pgq.subscription s on c.consumer_name =
                         (select co_name from pgq.consumer where co_id = sub_consumer) order by 1";
    let before = rows(&mut root.connect(), places);
    let ini = std::fs::read_to_string(new.ini()).unwrap();
    for (job, words) in [
        ("one_worker", "consumer \"one_worker\" of node \"root\" is the worker of node \"one\""),
        ("ordinary", "consumer \"ordinary\" of node \"root\" is another's; hint: "),
    ] {
        std::fs::write(new.ini(), ini.replace("new_worker", job)).unwrap();
        let (_, said) = refused(&new, &["create-leaf", "new", &new.location(), &provider]);
        assert!(said.contains(words), "{said}");
        assert_eq!(rows(&mut root.connect(), places), before);
    }
    // Nor does one that is led there.
    std::fs::write(new.ini(), ini.replace("new_worker", "busy")).unwrap();
    new.londiste(&["create-leaf", "new", &new.location(), &provider]);
    run(&mut one.connect(), "select pgq.register_consumer('rep', 'busy')");
    one.wait_for(KNOWN, "3");
    let (_, said) = refused(&new, &["--timeout", "60", "change-provider", "--provider", "one"]);
    assert!(said.contains("consumer \"busy\" of node \"one\" is another's"), "{said}");
    assert_eq!(row(&mut new.connect(), PAUSED), "f");
}
