//! Nodes change whom they read from, and their places.

use pgq_tests::query::{row, run};
use pgq_tests::{PATIENCE, wait_until};

use super::{Node, lose, refused, server, set_of, tick_fast};

const TABLE: &str = "create table t (id serial primary key, v text)";
const KIND: &str = "select node_type || ' ' || provider_node from pgq_node.get_node_info('rep')";

/// The table on all nodes, with rows in it.
fn fill(nodes: &[Node<'_>]) {
    for node in nodes {
        run(&mut node.connect(), TABLE);
        node.londiste(&["add-table", "t"]);
    }
    run(&mut nodes[0].connect(), "insert into t (v) select i from generate_series(1, 100) i");
    for node in &nodes[1..] {
        node.wait_until_in_sync();
    }
}

#[test]
fn the_root_moves_and_moves_back() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("branch", "branch"), ("leaf", "leaf")]);
    fill(&nodes);
    {
        let [root, branch, leaf] = &nodes[..] else { panic!("three nodes") };
        let said = leaf.londiste(&["change-provider", "--provider", "branch"]);
        assert!(said.contains("node \"leaf\" reads from node \"branch\""), "{said}");
        assert!(leaf.londiste(&["change-provider", "--provider", "branch"]).contains("already"));
        let readers = "select string_agg(subscriber_node, ' ' order by subscriber_node)
                         from pgq_node.subscriber_info";
        assert_eq!(row(&mut root.connect(), readers), "branch");
        assert_eq!(row(&mut branch.connect(), readers), "leaf");
        run(&mut root.connect(), "update t set v = v || '!'");
        leaf.wait_for_rows_of(root, "t");
        leaf.londiste(&["change-provider", "--provider", "root"]);
        for (node, arguments, words) in [
            (root, vec!["change-provider", "--provider", "branch"], "is the root"),
            (branch, vec!["change-provider", "--provider", "leaf"], "\"leaf\" is a leaf"),
            (branch, vec!["change-provider", "--provider", "branch"], "or is the same"),
            (branch, vec!["change-provider", "--provider", "nobody"], "no node \"nobody\""),
            (leaf, vec!["takeover", "root"], "node \"leaf\" is a leaf"),
            (branch, vec!["takeover", "branch"], "node \"branch\" is this one"),
            (branch, vec!["takeover", "nobody", "--dead-root"], "no node \"nobody\""),
        ] {
            let (_, said) = refused(node, &arguments);
            assert!(said.contains(words), "{arguments:?}: {said}");
        }

        branch.londiste(&["takeover", "root", "--all"]);
        tick_fast(&mut branch.connect());
        assert_eq!(row(&mut branch.connect(), KIND), "root branch");
        for node in [root, leaf] {
            assert!(row(&mut node.connect(), KIND).ends_with(" branch"));
        }
        run(&mut branch.connect(), "delete from t where id < 10; insert into t (id) values (1000)");
        for node in [root, leaf] {
            node.wait_for_rows_of(branch, "t");
        }
        let refusal = root.connect().batch_execute("delete from t").unwrap_err();
        assert!(refusal.as_db_error().is_some(), "{refusal}");
        root.londiste(&["takeover", "branch", "--all"]);
        run(&mut root.connect(), "insert into t (id) values (1001)");
        for node in [branch, leaf] {
            node.wait_for_rows_of(root, "t");
        }
    }

    // A takeover that cannot come to its end leaves the root as it was; one that was interrupted
    // after the promotion goes on.
    nodes[1].kill_worker();
    let [root, branch, leaf] = &mut nodes[..] else { panic!("three nodes") };
    let (_, said) = refused(branch, &["--timeout", "0.5", "takeover", "root"]);
    assert!(said.contains("does its worker run?") && said.contains("stays the root"), "{said}");
    run(&mut root.connect(), "insert into t (id) values (1002)");
    branch.start_worker();
    branch.wait_for_rows_of(root, "t");
    let steps = ["1", "2"].map(|step| {
        row(
            &mut root.connect(),
            &format!("select last_tick from pgq_node.demote_root('rep', {step}, 'branch')"),
        )
    });
    let reached =
        format!("select worker_last_tick >= {} from pgq_node.get_node_info('rep')", steps[1]);
    branch.wait_for(&reached, "t");
    run(&mut branch.connect(), "select pgq_node.promote_branch('rep')");
    branch.londiste(&["takeover", "root", "--all"]);
    leaf.londiste(&["change-provider", "--provider", "branch"]);
    run(&mut branch.connect(), "insert into t (id) values (1003)");
    for node in [&*root, &*leaf] {
        node.wait_for_rows_of(branch, "t");
    }
    assert_eq!(row(&mut root.connect(), KIND), "branch branch");
}

#[test]
fn a_branch_takes_the_place_of_a_root_that_is_gone() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch"), ("leaf", "leaf")]);
    fill(&nodes);
    // One of the branches has less than the other.
    nodes[1].kill_worker();
    run(&mut nodes[0].connect(), "update t set v = 'late'");
    for node in &nodes[2..] {
        node.wait_for_rows_of(&nodes[0], "t");
    }
    let all = row(&mut nodes[2].connect(), "select count(*) from t where v = 'late'");
    lay_no_more_ticks(&nodes[0], &nodes[2]);
    nodes[0].kill_worker();
    lose(&nodes[0], &nodes[1]);
    nodes[1].start_worker();
    let [_, one, two, leaf] = &nodes[..] else { panic!("four nodes") };
    one.londiste(&["takeover", "root", "--dead-root"]);
    tick_fast(&mut one.connect());
    assert_eq!(row(&mut one.connect(), KIND), "root one");
    assert_eq!(row(&mut one.connect(), "select count(*) from t where v = 'late'"), all);
    run(&mut one.connect(), "insert into t (id) values (1000)");
    for node in [two, leaf] {
        node.wait_for_rows_of(one, "t");
        assert!(row(&mut node.connect(), KIND).ends_with(" one"));
        node.wait_for("select dead from pgq_node.node_location where node_name = 'root'", "t");
    }
    let kept =
        "select consumer_name from pgq.get_consumer_info('rep') where consumer_name ~ 'grave'";
    assert_eq!(row(&mut one.connect(), kept), "root.gravestone");
    assert!(one.londiste(&["status"]).contains("root (dead)"));
    // It comes back, and does not take the set with it.
    run(&mut one.connect(), "alter database root allow_connections true");
    let (_, said) = refused(one, &["change-provider", "--provider", "root"]);
    assert!(said.contains("\"root\" is tagged dead; hint: tag-alive"), "{said}");
    one.londiste(&["tag-alive", "root"]);
    two.wait_for("select dead from pgq_node.node_location where node_name = 'root'", "f");
    let (_, said) = refused(one, &["takeover", "root"]);
    assert!(said.contains("nodes \"one\" and \"root\" are both roots; hint: "), "{said}");
    two.londiste(&["tag-dead", "root"]);
    leaf.wait_for("select dead from pgq_node.node_location where node_name = 'root'", "t");
}

/// The root's queue has all its ticks, and so has the branch's.
fn lay_no_more_ticks(root: &Node<'_>, branch: &Node<'_>) {
    const NEWEST: &str = "select last_tick_id from pgq.get_queue_info('rep')";
    run(&mut root.connect(), "select pgq.set_queue_config('rep', 'ticker_paused', 'true')");
    assert!(wait_until(PATIENCE, || {
        row(&mut root.connect(), NEWEST) == row(&mut branch.connect(), NEWEST)
    }));
}

#[test]
fn a_tick_that_its_branch_could_not_lay_any_more_is_not_waited_for() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    fill(&nodes);
    nodes[1].kill_worker();
    run(&mut nodes[0].connect(), "update t set v = 'late'");
    nodes[2].wait_for_rows_of(&nodes[0], "t");
    lay_no_more_ticks(&nodes[0], &nodes[2]);
    nodes[2].kill_worker();
    nodes[0].kill_worker();
    lose(&nodes[0], &nodes[1]);
    nodes[1].start_worker();
    let [_, one, two] = &nodes[..] else { panic!("three nodes") };
    // As its worker leaves it that is killed between the two.
    let applied = "update pgq_node.local_state set last_tick_id = last_tick_id + 1
                    where consumer_name = (select worker_name from pgq_node.node_info)";
    run(&mut two.connect(), applied);
    one.londiste(&["takeover", "root", "--dead-root", "--timeout", "100"]);
    assert_eq!(row(&mut one.connect(), KIND), "root one");
    assert_eq!(
        row(&mut one.connect(), "select bool_and(v = 'late') from t"),
        "t",
        "what the other had a tick of"
    );
    assert_eq!(row(&mut two.connect(), KIND), "branch root", "it has more than the new root");
}

#[test]
fn a_branch_takes_the_place_of_a_branch() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch"), ("leaf", "leaf")]);
    fill(&nodes);
    {
        let [root, one, two, leaf] = &nodes[..] else { panic!("four nodes") };
        two.londiste(&["change-provider", "--provider", "one"]);
        leaf.londiste(&["change-provider", "--provider", "one"]);
        two.londiste(&["takeover", "one", "--all"]);
        for (node, kind) in [(two, "branch root"), (one, "branch two"), (leaf, "leaf two")] {
            assert_eq!(row(&mut node.connect(), KIND), kind);
        }
        run(&mut root.connect(), "update t set v = 'new'");
        for node in [one, two, leaf] {
            node.wait_for_rows_of(root, "t");
        }
    }
    nodes[2].kill_worker();
    lose(&nodes[2], &nodes[0]);
    let [root, one, _, leaf] = &nodes[..] else { panic!("four nodes") };
    one.londiste(&["takeover", "two", "--dead-branch"]);
    for (node, kind) in [(one, "branch root"), (leaf, "leaf one")] {
        assert_eq!(row(&mut node.connect(), KIND), kind);
    }
    let readers = "select string_agg(subscriber_node, ' ') from pgq_node.subscriber_info";
    assert_eq!(row(&mut root.connect(), readers), "one");
    run(&mut root.connect(), "update t set v = 'newer'");
    for node in [one, leaf] {
        node.wait_for_rows_of(root, "t");
    }
}
