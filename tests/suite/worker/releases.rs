//! What the library knows of the worker, as the SQL of other releases declares it.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, scratch_database_with_worker, wait_until};
use postgres::Client;

use super::worker_pid;

/// Declare one of the library's functions with these columns.
fn declare(client: &mut Client, symbol: &str, columns: &str) {
    run(
        client,
        &format!(
            "drop function if exists declared();
             create function declared({columns}) returns setof record
             language c as 'pgq', '{symbol}'"
        ),
    );
}

#[test]
fn columns_of_an_older_release_are_served_in_its_order() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    let pid = worker_pid(&mut client);
    declare(&mut client, "pgq_worker_databases", "out state text, out oid oid, out pid integer");
    let own = "select state, pid from declared()
                where oid = (select oid from pg_database where datname = current_database())";
    assert!(wait_until(PATIENCE, || row(&mut client, own) == format!("running|{pid}")));
    declare(&mut client, "pgq_worker_server", "out max_workers integer, out preloaded boolean");
    let all = row(&mut client, "select preloaded, max_workers > 0 from declared()");
    assert_eq!(all, "t|t");
    for (symbol, columns) in [
        ("pgq_worker_waiters", "out waiters integer, out queue_id integer"),
        ("pgq_worker_problems", "out object text, out count bigint"),
    ] {
        declare(&mut client, symbol, columns);
        assert_eq!(row(&mut client, "select count(*) from declared()"), "0");
    }
}

#[test]
fn columns_of_a_newer_release_are_refused_by_name() {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    worker_pid(&mut client);
    for columns in ["out pid integer, out mood text", "out pid integer, out ticks text"] {
        declare(&mut client, "pgq_worker_databases", columns);
        let column = columns.split(' ').nth(4).unwrap();
        assert_eq!(
            outcome(&mut client, "select count(*) from declared()"),
            format!("ERROR 55000: library pgq knows nothing of column \"{column}\"")
        );
    }
}
