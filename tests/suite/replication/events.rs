//! What goes through the queue besides rows: scripts, sequences, tables, watermarks; and what an
//! administrator does to a node whose worker runs.

use pgq_tests::Tree;
use pgq_tests::query::{row, run};

use super::set::{Driver, Set};

by_both! {
    scripts_sequences_and_the_list_of_tables_follow_the_root,
    a_worker_pauses_and_changes_its_provider_and_a_branch_becomes_the_root,
}

fn scripts_sequences_and_the_list_of_tables_follow_the_root(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Peer), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key); create sequence s");
        set.attach(name, "public.t", "expect_sync");
    }
    let mut root = set.connect("root");
    run(&mut root, "select londiste.local_add_seq('q', 'public.s')");
    let _workers = [set.start("root", None), set.start("leaf", None)];

    // In the order of the queue: before it the column is not there, after it it is.
    run(&mut root, "insert into t values (1)");
    let add = "-- a column\n--*-- Local-Table: t\nalter table @t@ add v text;\n\
               insert into @t@ values (5, 'by the script, on each node');\n";
    assert_eq!(set.execute("root", "add.sql", add), "");
    run(&mut root, "insert into t values (2, 'b')");
    assert!(set.execute("root", "add.sql", add).contains("was run before"));
    // Not for a node that lacks the view.
    set.execute("root", "no.sql", "--*-- Need-View: nowhere\nselect 1/0;\n");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select id, v from t order by id");
    const APPLIED: &str = "select execute_file from londiste.applied_execute order by 1";
    set.assert_same("root", "leaf", APPLIED);

    let published = row(&mut root, "select last_value from londiste.seq_info");
    set.await_answer("root", "leaf", "select last_value from londiste.seq_info", &published);
    run(&mut set.connect("leaf"), "select londiste.local_add_seq('q', 'public.s')");
    run(&mut root, "select setval('s', 1000000); select londiste.root_check_seqs('q')");
    let published = row(&mut root, "select last_value from londiste.seq_info");
    set.await_answer("root", "leaf", "select last_value from s", &published);

    run(&mut root, "create table u (id int primary key)");
    set.attach("root", "public.u", "");
    let known = "select table_name, local from londiste.get_table_list('q')";
    set.await_answer("root", "leaf", known, "public.t|t\npublic.u|f");
    run(&mut root, "select londiste.local_remove_table('q', 'public.t')");
    set.await_answer("root", "leaf", known, "public.u|f");
}

fn a_worker_pauses_and_changes_its_provider_and_a_branch_becomes_the_root(driver: Driver) {
    let set =
        Set::driven(driver, &[("root", Tree::Ours), ("branch", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "branch", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key)");
        set.attach(name, "public.t", "expect_sync");
    }
    let _workers = ["root", "branch", "leaf"].map(|name| set.start(name, None));
    let (mut root, mut branch, mut leaf) =
        (set.connect("root"), set.connect("branch"), set.connect("leaf"));
    run(&mut root, "insert into t values (1)");
    for name in ["branch", "leaf"] {
        set.await_sync("root", name);
        set.assert_same("root", name, "select * from t");
    }

    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', true)");
    let uptodate = "select worker_uptodate from pgq_node.get_node_info('q')";
    set.await_answer("root", "leaf", uptodate, "t");
    run(&mut root, "insert into t values (2)");
    set.await_sync("root", "branch");
    assert_eq!(row(&mut leaf, "select count(*) from t"), "1");
    let position = row(&mut leaf, "select worker_last_tick from pgq_node.get_node_info('q')");
    run(
        &mut branch,
        &format!("select pgq_node.register_subscriber('q', 'leaf', 'leaf_worker', {position})"),
    );
    run(&mut leaf, "select pgq_node.change_consumer_provider('q', 'leaf_worker', 'branch')");
    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', false)");
    run(&mut root, "select pgq_node.unregister_subscriber('q', 'leaf')");
    set.await_answer("root", "leaf", "select count(*) from t", "2");

    // docs/cascades.md, with workers at it.
    run(&mut root, "select pgq_node.demote_root('q', 1, null)");
    let last = row(&mut root, "select last_tick from pgq_node.demote_root('q', 2, null)");
    let has = format!("select local_queue_top >= {last} from pgq_node.get_worker_state('q')");
    set.await_answer("root", "branch", &has, "t");
    run(&mut branch, "select pgq_node.promote_branch('q')");
    run(
        &mut branch,
        &format!("select pgq_node.register_subscriber('q', 'root', 'root_worker', {last})"),
    );
    run(&mut root, "select pgq_node.unregister_subscriber('q', 'branch')");
    run(&mut root, "select pgq_node.demote_root('q', 3, 'branch')");
    run(&mut branch, "insert into t values (3)");
    for name in ["root", "leaf"] {
        set.await_sync("branch", name);
        set.assert_same("branch", name, "select * from t order by id");
    }
}
