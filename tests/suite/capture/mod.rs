//! Change capture: what the triggers put into a queue, and what they refuse.

mod columns;
mod differential;
mod emissions;
mod encoding;
mod errors;
mod insert_event;
mod invalidation;
mod options;
mod random_table;
mod replay;
mod types;

use pgq_tests::{Scratch, Tree, scratch_database, scratch_database_on};
use postgres::Client;

/// A database with extension `pgq` and a queue `q`, and a connection with the settings that
/// expected texts rely on.
fn database() -> (Scratch, Client) {
    let scratch = scratch_database();
    let client = prepare(&scratch);
    (scratch, client)
}

/// The same on upstream's PgQ.
fn peer_database() -> (Scratch, Client) {
    let scratch = scratch_database_on(Tree::Peer);
    scratch.connect().batch_execute("create extension pgq").expect("create extension pgq");
    let client = prepare(&scratch);
    (scratch, client)
}

fn prepare(scratch: &Scratch) -> Client {
    let mut client = scratch.connect();
    client
        .batch_execute(
            "set datestyle = 'ISO, YMD'; set timezone = 'UTC'; set intervalstyle = 'postgres_verbose';
             set extra_float_digits = 0; set bytea_output = hex; select pgq.create_queue('q')",
        )
        .expect("prepare the session");
    client
}

/// Create the three triggers on a table, fired after row changes, with `options` after the queue's
/// name.
fn three_triggers(client: &mut Client, table: &str, options: &str) {
    for (name, function) in [("t1", "jsontriga"), ("t2", "logutriga"), ("t3", "sqltriga")] {
        client
            .batch_execute(&format!(
                "create trigger {name} after insert or update or delete on {table}
                 for each row execute function pgq.{function}('q'{options})"
            ))
            .expect("create a trigger");
    }
}

/// Take the events out of the queue's tables: `type|data|extra1|extra2|extra3|extra4`, with `∅` for
/// NULL and without the fields that are NULL at the end.
fn take_events(client: &mut Client) -> Vec<String> {
    let (events, _) = events_after(client, 0);
    client
        .batch_execute("truncate pgq.event_1_0, pgq.event_1_1, pgq.event_1_2")
        .expect("empty the queue");
    events
}

/// The events beyond an id, which stay where they are, and the last one's id.
fn events_after(client: &mut Client, last: i64) -> (Vec<String>, i64) {
    let rows = client
        .query(
            "select ev_type, ev_data, ev_extra1, ev_extra2, ev_extra3, ev_extra4, ev_id
             from pgq.event_1_0 where ev_id > $1 order by ev_id",
            &[&last],
        )
        .expect("read the events");
    let show = |row: &postgres::Row| {
        let mut fields: Vec<Option<String>> = (0..6).map(|i| row.get(i)).collect();
        while fields.last().is_some_and(Option::is_none) {
            fields.pop();
        }
        let shown: Vec<_> =
            fields.into_iter().map(|field| field.unwrap_or_else(|| "∅".to_owned())).collect();
        shown.join("|")
    };
    (rows.iter().map(show).collect(), rows.last().map_or(last, |row| row.get(6)))
}

/// Run a statement; the events it makes must be these.
#[track_caller]
fn expect_events(client: &mut Client, statement: &str, expected: &[&str]) {
    client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    assert_eq!(take_events(client), expected, "events of: {statement}");
}

/// Run a statement that must fail, with this SQLSTATE and message, and leave no event.
#[track_caller]
fn expect_error(client: &mut Client, statement: &str, code: &str, message: &str) {
    let error = client.batch_execute(statement).expect_err(statement);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{statement}: {error}"));
    assert_eq!((error.code().code(), error.message()), (code, message), "error of: {statement}");
    assert_eq!(take_events(client), [""; 0], "events after the failure of: {statement}");
}
