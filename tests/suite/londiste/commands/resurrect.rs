//! A root that was lost comes back, and follows the one that took its place.

use pgq_tests::query::{row, rows, run};

use super::{Node, lose, refused, replace, restore, server, set_of, tick_fast};

const KIND: &str = "select node_type || ' ' || provider_node from pgq_node.get_node_info('rep')";
const DISABLED: &str = "select queue_disable_insert from pgq.queue";
const PAUSED: &str = "select paused from pgq_node.local_state";
const READERS: &str =
    "select subscriber_node, worker_name from pgq_node.subscriber_info order by 1";
const CONSUMERS: &str = "select consumer_name from pgq.get_consumer_info('rep') order by 1";

fn come_back(node: &Node<'_>, from: &Node<'_>) {
    let name = node.name();
    run(&mut from.connect(), &format!("alter database {name} allow_connections true"));
}

#[test]
fn a_lost_root_follows_the_new_one_and_keeps_what_nobody_else_has() {
    let cluster = server();
    let mut nodes = set_of(&cluster, &[("one", "branch"), ("two", "branch")]);
    for node in &nodes {
        run(
            &mut node.connect(),
            "create table t (id int primary key, v text);
                                  create table u (id int primary key)",
        );
        node.londiste(&["add-table", "t", "u"]);
    }
    run(
        &mut nodes[0].connect(),
        "insert into t select i, 'v' from generate_series(1, 50) i;
                                  insert into u values (1)",
    );
    for node in &nodes[1..] {
        node.wait_until_in_sync();
        node.wait_for_rows_of(&nodes[0], "t");
        node.wait_for_rows_of(&nodes[0], "u");
    }
    // What it takes as a root that nobody has lost.
    let root = &nodes[0];
    let (code, said) = refused(root, &["resurrect"]);
    assert!(code == Some(4) && said.contains("no node has consumer \"root.gravestone\""), "{said}");
    assert_eq!(row(&mut root.connect(), DISABLED), "f");

    for node in &mut nodes[1..] {
        node.kill_worker();
    }
    let [root, one, _] = &nodes[..] else { panic!("three nodes") };
    let mut here = root.connect();
    run(
        &mut here,
        "select pgq.set_queue_config('rep', 'rotation_period', '77 min');
         select pgq.set_queue_config('rep', 'batch_max_count', '777');
         select pgq.set_queue_config('rep', 'max_retries', '7');
         select pgq.set_queue_config('rep', 'keep', '7 min');
         select pgq.register_consumer('rep', 'ordinary');
         insert into t values (1000, 'lost'); delete from t where id = 7;
         select pgq.force_tick('rep')",
    );
    // Some of it has a tick, and some has not.
    run(&mut here, "update t set v = 'lost' where id = 8");
    drop(here);
    lose(root, one);
    for node in &mut nodes[1..] {
        node.start_worker();
    }
    let [root, one, two] = &nodes[..] else { panic!("three nodes") };
    one.londiste(&["takeover", "root", "--dead-root"]);
    tick_fast(&mut one.connect());
    run(&mut one.connect(), "insert into t values (2000, 'new'); insert into u values (2)");
    come_back(root, one);

    // It cannot be the root of both, and what fails leaves it as it was.
    let (_, said) = refused(one, &["takeover", "two", "--dead-root"]);
    assert!(said.contains("is the root already"), "{said}");
    run(
        &mut root.connect(),
        "alter function pgq.set_queue_config(text, text, text) rename to kept",
    );
    let (code, said) = refused(root, &["resurrect"]);
    assert!(code == Some(4) && said.contains("node \"root\" is a root as before"), "{said}");
    run(
        &mut root.connect(),
        "alter function pgq.kept(text, text, text) rename to set_queue_config",
    );
    assert_eq!(row(&mut root.connect(), KIND), "root root");
    assert_eq!(row(&mut root.connect(), DISABLED), "f");
    assert!(rows(&mut root.connect(), CONSUMERS).contains(&"ordinary".to_owned()));

    // It dies between the two nodes.
    let register = "q text, n text, w text, t int8,
                    out ret_code int4, out ret_note text, out global_watermark int8";
    replace(one, "register_subscriber", "text, text, text, int8", register, "raise 'not now';");
    let (_, said) = refused(root, &["resurrect", "--events", "lost"]);
    assert!(said.contains("is a branch now; hint: run resurrect again"), "{said}");
    restore(one, "register_subscriber", "text, text, text, int8");
    assert_eq!(rows(&mut one.connect(), READERS)[0], "root|root.gravestone");
    let said = root.londiste(&["resurrect", "--events", "lost"]);
    assert!(said.contains("reads from node \"one\" from tick "), "{said}");

    let lost = std::fs::read_to_string(root.ini().with_file_name("lost")).unwrap();
    let lost: Vec<serde_json::Value> =
        lost.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_rows: Vec<_> = lost
        .iter()
        .filter(|event| event["ev_extra1"] == "public.t")
        .map(|event| event["ev_type"].as_str().unwrap().chars().next().unwrap())
        .collect();
    assert_eq!(of_rows, ['I', 'D', 'U'], "{lost:?}");
    assert_eq!(row(&mut root.connect(), KIND), "branch one");
    assert_eq!(row(&mut root.connect(), PAUSED), "t");
    assert_eq!(rows(&mut root.connect(), CONSUMERS), [".global_watermark"]);
    assert_eq!(rows(&mut root.connect(), READERS), [""; 0]);
    assert_eq!(rows(&mut one.connect(), READERS), ["root|root_worker", "two|two_worker"]);
    let settings = "select queue_rotation_period, queue_batch_max_count, opt_max_retries, opt_keep
                      from pgq.queue join pgq.queue_option on opt_queue = queue_id";
    assert_eq!(row(&mut root.connect(), settings), "01:17:00|777|7|00:07:00");
    for node in [one, two, root] {
        node.wait_for("select count(*) from pgq_node.node_location where dead", "0");
    }
    // Its tables are as they were until somebody says what is to be done.
    let kept = "select count(*) from t where v = 'lost'";
    assert_eq!(row(&mut root.connect(), kept), "2");
    root.londiste(&["resync", "t"]);
    root.londiste(&["resume"]);
    root.wait_until_in_sync();
    for table in ["t", "u"] {
        root.wait_for_rows_of(one, table);
    }
    // It can be the root again.
    root.londiste(&["takeover", "one", "--all"]);
    run(&mut root.connect(), "insert into t values (3000, 'again')");
    tick_fast(&mut root.connect());
    for node in [one, two] {
        node.wait_for_rows_of(root, "t");
    }
}
