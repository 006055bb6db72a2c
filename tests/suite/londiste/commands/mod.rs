//! The commands of `pgq londiste`.

mod again;
mod interrupted;
mod names;
mod nodes;
mod repair;
mod resurrect;
mod roles;
mod rows;
mod tables;
mod taken_again;
mod takeover;

use pgq_tests::Cluster;
use pgq_tests::programs::stderr;
use pgq_tests::query::run;

use super::python::{Node, Program, tick_fast};

/// A server that ticks by itself, fast.
fn server() -> Cluster {
    Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.ticker_period", "50ms")
        .set("fsync", "off")
        .start()
}

/// A root that ticks, and nodes of these types that read from it, all with their workers.
fn set_of<'a>(cluster: &'a Cluster, others: &[(&'static str, &str)]) -> Vec<Node<'a>> {
    let root = Node::new(cluster, "root", Program::Ours);
    root.londiste(&["create-root", "root", &root.location()]);
    tick_fast(&mut root.connect());
    let provider = format!("--provider={}", root.location());
    let mut nodes = vec![root];
    for (name, kind) in others {
        let node = Node::new(cluster, name, Program::Ours);
        node.londiste(&[&format!("create-{kind}"), name, &node.location(), &provider]);
        nodes.push(node);
    }
    for node in &mut nodes {
        node.start_worker();
    }
    nodes
}

/// Exit code and words of a command that is to fail.
fn refused(node: &Node<'_>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = node.output(arguments);
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    (output.status.code(), stderr(&output))
}

/// A function of a node does what the body says; `real` is what it did before. The head is without
/// its schema.
fn replace(node: &Node<'_>, name: &str, types: &str, head: &str, body: &str) {
    run(
        &mut node.connect(),
        &format!(
            "alter function pgq_node.{name}({types}) rename to real;
             create function pgq_node.{name}({head})
             language plpgsql as $$ begin {body} end $$"
        ),
    );
}

/// The function does again what it did.
fn restore(node: &Node<'_>, name: &str, types: &str) {
    run(
        &mut node.connect(),
        &format!(
            "drop function pgq_node.{name}({types});
             alter function pgq_node.real({types}) rename to {name}"
        ),
    );
}

/// Nobody reaches the node's database any more.
fn lose(node: &Node<'_>, from: &Node<'_>) {
    let (name, mut other) = (node.name(), from.connect());
    run(&mut other, &format!("alter database {name} allow_connections false"));
    run(
        &mut other,
        &format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"),
    );
}
