//! A cascade of which one node has upstream's extensions, or its program, and the other ours,
//! either way round.

use pgq_tests::{Cluster, Tree};

use crate::londiste::python::{Node, Program, tick_fast};
use pgq_tests::query::run;

/// A server with upstream's extensions and its ticker, or with ours.
fn server(tree: Tree) -> Cluster {
    let builder = Cluster::builder_on(tree).set("fsync", "off");
    match tree {
        Tree::Ours => {
            builder.set("shared_preload_libraries", "pgq").set("pgq.ticker_period", "50ms")
        }
        Tree::Peer => builder,
    }
    .start()
}

fn replicate((from, of_root): (Tree, Program), (to, of_leaf): (Tree, Program)) {
    let [first, second] = [from, to].map(server);
    let mut root = Node::new(&first, "root", of_root);
    let mut leaf = Node::new(&second, "leaf", of_leaf);
    root.londiste(&["create-root", "root", &root.location()]);
    let mut client = root.connect();
    tick_fast(&mut client);
    let _pgqd = (from == Tree::Peer).then(|| {
        crate::install::pgqd::start_for(&first, &root.ini().with_file_name("pgqd.ini"), "root")
    });
    let provider = format!("--provider={}", root.location());
    leaf.londiste(&["create-leaf", "leaf", &leaf.location(), &provider]);
    for node in [&mut root, &mut leaf] {
        node.start_worker();
    }
    run(
        &mut client,
        "create table t (id serial primary key, d text); insert into t (d) select 'row ' || i from generate_series(1, 100) i",
    );
    root.londiste(&["add-table", "t"]);
    root.londiste(&["add-seq", "t_id_seq"]);
    leaf.londiste(&["add-seq", "t_id_seq", "--create"]);
    leaf.londiste(&["add-table", "t", "--create-full"]);
    run(&mut client, "update t set d = d || '!' where id > 50; delete from t where id < 10");
    leaf.wait_until_in_sync();
    run(&mut client, "insert into t (d) values ('last')");
    leaf.wait_for_rows_of(&root, "t");
    leaf.wait_for("select last_value >= 30001 from t_id_seq", "t");
    assert!(leaf.londiste(&["compare", "t"]).contains("checksum="));
    root.londiste(&["remove-table", "t"]);
    leaf.wait_for("select count(*) from londiste.table_info", "0");
}

#[test]
fn a_leaf_of_ours_reads_from_upstreams_root() {
    replicate((Tree::Peer, Program::Python), (Tree::Ours, Program::Python));
}

#[test]
fn a_leaf_of_upstreams_reads_from_our_root() {
    replicate((Tree::Ours, Program::Python), (Tree::Peer, Program::Python));
}

#[test]
fn our_program_makes_a_leaf_of_pythons_root_on_upstreams_extensions() {
    replicate((Tree::Peer, Program::Python), (Tree::Ours, Program::Ours));
}

#[test]
fn python_makes_a_leaf_of_our_programs_root() {
    replicate((Tree::Ours, Program::Ours), (Tree::Peer, Program::Python));
}

#[test]
fn our_program_administers_upstreams_extensions() {
    replicate((Tree::Peer, Program::Ours), (Tree::Peer, Program::Ours));
}
