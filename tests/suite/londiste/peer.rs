//! The same calls on upstream's londiste 3.8 and here: rows, codes, notes and errors must be the
//! same.

use pgq_tests::{Cluster, Tree};

use crate::pgq::peer::transcript;
use pgq_tests::query::run;

#[test]
fn calls_return_what_they_return_in_londiste_3_8() {
    // Servers of their own: numbers of transactions and the roles of others do not show.
    let [expected, found] = [Tree::Peer, Tree::Ours].map(|tree| {
        let cluster = Cluster::builder_on(tree).set("timezone", "UTC");
        let cluster = cluster.set("autovacuum_naptime", "1d").start();
        let mut client = cluster.connect("postgres");
        run(
            &mut client,
            "create extension pgq; create extension pgq_node; create extension londiste",
        );
        transcript(&mut client, include_str!("peer.sql"))
    });
    assert!(expected.len() > 200, "the scenario has {} statements", expected.len());
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected, "\n  here:\n{found}\n  londiste 3.8:\n{expected}");
    }
}
