//! The same random tables, triggers and changes through upstream's triggers and ours: every event
//! is the same, field by field, and so is every error text.
//!
//! Left out are the cases that are meant to differ (`docs/change-capture.md` lists them): `INCLUDE`
//! columns and renamed columns of a key, key columns with a comma in the name, `sqltriga` with a
//! `pkey=` that names no column, functions named like a column in expressions. A key change that
//! upstream overlooks, because with `ignore=` it stops looking at the first changed column, ends a
//! round.

use std::fmt::Write as _;

use pgq_tests::Random;
use postgres::Client;

use super::random_table::{SCHEMA, Table};
use super::{database, events_after, peer_database, take_events};

const KEY_CHANGED: &str = "primary key update not allowed";

/// Run a statement on one side: the text of its error, if any.
fn run(client: &mut Client, statement: &str) -> Option<String> {
    let error = client.batch_execute(statement).err()?;
    let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
    Some(error.message().to_owned())
}

#[test]
fn random_changes_are_captured_as_upstream_captures_them() {
    let mut random = Random::for_test("differential");
    let rounds = std::env::var("PGQ_ROUNDS").map_or(50, |rounds| rounds.parse().unwrap());
    let (our_scratch, mut ours) = database();
    let (peer_scratch, mut peer) = peer_database();
    // A snapshot that is held keeps both servers from pruning pages, each at a time of its own:
    // rows lie, and an UPDATE of several visits them, in the same order.
    let mut holders = [our_scratch.connect(), peer_scratch.connect()];
    for holder in &mut holders {
        holder.batch_execute("begin isolation level repeatable read; select 1").unwrap();
    }
    for side in [&mut ours, &mut peer] {
        side.batch_execute(SCHEMA).unwrap();
    }
    let (mut events, mut errors) = (0, 0);
    for number in 0..rounds {
        let mut history = String::new();
        let (mut table, setup) = Table::new(&mut random, number);
        let changes = 30;
        let mut last = [0, 0];
        for step in 0..setup.len() + changes {
            let statement = match setup.get(step) {
                Some(statement) => statement.clone(),
                None => table.statement(&mut random),
            };
            writeln!(history, "{statement};").unwrap();
            let results = [run(&mut ours, &statement), run(&mut peer, &statement)];
            if results[0].as_deref() == Some(KEY_CHANGED) && results[1] != results[0] {
                // The fixed case: see above. Where upstream let it pass, the tables differ now.
                if results[1].is_none() {
                    break;
                }
                continue;
            }
            assert_eq!(results[0], results[1], "ours, upstream's error after:\n{history}");
            let (our_events, our_last) = events_after(&mut ours, last[0]);
            let (peer_events, peer_last) = events_after(&mut peer, last[1]);
            assert_eq!(our_events, peer_events, "our, upstream's events after:\n{history}");
            last = [our_last, peer_last];
            events += our_events.len();
            errors += usize::from(results[0].is_some());
        }
        for side in [&mut ours, &mut peer] {
            take_events(side);
            side.batch_execute(&format!(
                "reset session_replication_role; drop table {}",
                table.name
            ))
            .unwrap();
        }
    }
    assert!(events > rounds * 10, "only {events} events, {errors} errors");
}
