//! The same calls on PgQ 3.5 and here: what they return, and what their errors say, must be the
//! same.

use pgq_tests::{Cluster, Tree};
use postgres::Client;

use pgq_tests::query::{outcome, run};

/// Statements, each of which ends with a line. What differs by design is tested elsewhere:
/// SQLSTATEs, and texts of the server's own.
const SCENARIO: &str = include_str!("peer.sql");

/// Statements of a scenario with their outcomes.
pub(crate) fn transcript(client: &mut Client, scenario: &str) -> Vec<String> {
    scenario
        .split(";\n")
        .map(|piece| {
            let code = piece.lines().filter(|line| !line.starts_with("--"));
            code.collect::<Vec<_>>().join("\n")
        })
        .filter(|statement| !statement.is_empty())
        .map(|statement| {
            let result = outcome(client, &statement);
            // ERROR SQLSTATE: message
            let result = match result.strip_prefix("ERROR ") {
                Some(error) => {
                    format!("ERROR {}", error.split_once(": ").map_or(error, |(_, text)| text))
                }
                None => result,
            };
            format!("{statement}\n{result}")
        })
        .collect()
}

#[test]
fn calls_return_what_they_return_in_pgq_3_5() {
    // Servers of their own: transactions of other tests would show in which tables a batch can be
    // in.
    let [expected, found] = [Tree::Peer, Tree::Ours].map(|tree| {
        let cluster = Cluster::builder_on(tree).set("autovacuum_naptime", "1d").start();
        let mut client = cluster.connect("postgres");
        run(&mut client, "create extension pgq");
        transcript(&mut client, SCENARIO)
    });
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(found, expected, "\n  here:\n{found}\n  PgQ 3.5:\n{expected}");
    }
}
