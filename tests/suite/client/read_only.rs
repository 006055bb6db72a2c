//! Sessions that may only read, on a server that is no standby: nobody waits for another server.

use pgq_tests::Tree;

use pgq_tests::programs::{create_queue, database_on, dsn, insert_and_tick, pgq, stderr, target};
use pgq_tests::query::run;

#[test]
fn a_consumer_whose_sessions_may_only_read_says_so_and_ends() {
    let database = database_on(Tree::Ours);
    let mut client = database.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 3);
    let read_only =
        format!("alter database \"{}\" set default_transaction_read_only = on", database.name());
    run(&mut client, &read_only);
    let output =
        pgq(&["consume", "q", "c", "--once"]).env("PGQ_DSN", dsn(&database)).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("25006") && said.contains("default_transaction_read_only"), "{said}");
    run(&mut client, &read_only.replace("= on", "= off"));
    let output =
        pgq(&["consume", "q", "c", "--once"]).env("PGQ_DSN", dsn(&database)).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 3);
}

#[test]
fn a_mover_whose_target_may_only_be_read_says_so_and_ends() {
    let database = database_on(Tree::Ours);
    let mut client = database.connect();
    create_queue(&mut client, "q", "c");
    insert_and_tick(&mut client, "q", 0, 3);
    let (there, mut other) = target("select pgq.create_queue('copy')");
    run(
        &mut other,
        &format!("alter database \"{}\" set default_transaction_read_only = on", there.name()),
    );
    let output = pgq(&["move", "q", "c", "--once", "--to", &dsn(&there), "--to-queue", "copy"])
        .env("PGQ_DSN", dsn(&database))
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("default_transaction_read_only"), "{said}");
}
