//! The examples in the documentation run as they stand.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use pgq_tests::{Scratch, Tree, scratch_database_on};

/// The SQL examples of a document, each with the database that its first line names (`-- on NAME`).
fn examples(text: &str) -> Vec<(&str, &str)> {
    text.split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .map(|example| {
            let first = example.lines().next().unwrap();
            (first.strip_prefix("-- on ").unwrap_or(""), example)
        })
        .collect()
}

fn run_examples(text: &str) {
    let examples = examples(text);
    assert!(examples.len() > 1, "no examples were found");
    let mut databases: BTreeMap<&str, Scratch> = BTreeMap::new();
    for (name, example) in examples {
        let database = databases.entry(name).or_insert_with(|| scratch_database_on(Tree::Ours));
        let mut psql = database.cluster().command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database.name()]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        psql.stdin.take().unwrap().write_all(example.as_bytes()).unwrap();
        let output = psql.wait_with_output().unwrap();
        let (shown, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && errors.is_empty(), "{example}\n{shown}{errors}");
        // Return codes and their notes come first in what pgq_node answers.
        for line in shown.lines() {
            let code = line.split_once('|').and_then(|(code, _)| code.parse::<u32>().ok());
            assert!(code.is_none_or(|code| (100..300).contains(&code)), "{example}\n{shown}");
        }
    }
}

#[test]
fn examples_of_cooperative_consumers_run() {
    run_examples(include_str!("../../../docs/cooperative-consumers.md"));
}

#[test]
fn examples_of_exactly_once_run() {
    run_examples(include_str!("../../../docs/exactly-once.md"));
}

#[test]
fn examples_of_cascades_run() {
    run_examples(include_str!("../../../docs/cascades.md"));
}

#[test]
fn examples_of_replication_run() {
    run_examples(include_str!("../../../docs/replication.md"));
}

#[test]
fn examples_of_moving_here_run() {
    run_examples(include_str!("../../../docs/moving.md"));
}
