//! Two processes run the same consumer by mistake: one is stopped in the middle of a batch, the
//! other finishes it. What the first wrote is undone, it says once that the batch is gone, and goes
//! on.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use pgq_client::{Consumer, Error, OnFailure};
use pgq_tests::{PATIENCE, Scratch, Tree, scratch_database_on, wait_until};
use postgres::Client;

use pgq_tests::programs::{
    connector, create_queue, database_on, dsn, insert_and_tick, pgq, succeed, value,
};

/// `pgq` that stops itself at a step.
fn stops(scratch: &Scratch, arguments: &[&str], at: &str) -> Child {
    let child = pgq(arguments)
        .env("PGQ_DSN", dsn(scratch))
        .env("PGQ_FAILPOINT", at)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    let is_stopped = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('T'))
    };
    assert!(wait_until(PATIENCE, is_stopped), "pgq {arguments:?} does not come to {at}");
    child
}

/// Let it go on to its end; what it said on standard error.
fn goes_on(child: Child) -> String {
    let continued = Command::new("kill").arg("-CONT").arg(child.id().to_string()).status().unwrap();
    assert!(continued.success());
    let output = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{} {:?}: {words}", output.status, output.status.signal());
    words
}

fn taking(client: &mut Client) {
    client
        .batch_execute(
            "create table seen (n int);
             create function take(e jsonb) returns void language sql as
               $$ insert into seen values ((e->>'ev_data')::int) $$",
        )
        .unwrap();
}

#[test]
fn consumer_whose_batch_is_finished_by_another_undoes_its_part() {
    let scratch = database_on(Tree::Ours);
    let mut client = scratch.connect();
    taking(&mut client);
    create_queue(&mut client, "q", "c");
    let arguments = ["consume", "q", "c", "--once", "--sql", "take"];
    for (round, at) in
        ["batch.opened=stop", "events.read=stop", "handler.done=stop@7", "handler.done=stop@10"]
            .into_iter()
            .enumerate()
    {
        insert_and_tick(&mut client, "q", 0, 10);
        let first = stops(&scratch, &arguments, at);
        succeed(&scratch, &arguments);
        let words = goes_on(first);
        assert_eq!(words.matches("is gone").count(), 1, "{at}: {words}");
        // And how much there was for it.
        assert!(words.ends_with("pgq: 0 events in 0 batches\n"), "{at}: {words}");
        assert_eq!(words.lines().count(), 2, "{at}: {words}");
        let seen = value(&mut client, "select count(*) || ' ' || count(distinct n) from seen");
        assert_eq!(seen, format!("{} 10", (round + 1) * 10), "{at}");
    }
}

#[test]
fn transfer_whose_batch_is_finished_by_another_writes_nothing_twice() {
    let (source, there) = (database_on(Tree::Ours), scratch_database_on(Tree::Ours));
    let (mut here, mut far) = (source.connect(), there.connect());
    far.batch_execute("create extension pgq; create extension pgq_ext cascade").unwrap();
    create_queue(&mut here, "q", "mover");
    create_queue(&mut far, "q", "reader");
    let to = dsn(&there);
    let arguments = ["move", "q", "mover", "--to", &to, "--once"];
    for (round, at) in ["batch.opened=stop", "target.committed=stop"].into_iter().enumerate() {
        insert_and_tick(&mut here, "q", 0, 10);
        let first = stops(&source, &arguments, at);
        succeed(&source, &arguments);
        let words = goes_on(first);
        assert_eq!(words.matches("is gone").count(), 1, "{at}: {words}");
        let copied = value(&mut far, "select count(*) from pgq.event_template");
        assert_eq!(copied, ((round + 1) * 10).to_string(), "{at}");
    }
}

#[test]
fn two_transfers_of_the_same_batch_take_turns_in_the_target() {
    let (source, there) = (database_on(Tree::Ours), scratch_database_on(Tree::Ours));
    let (mut here, mut far) = (source.connect(), there.connect());
    far.batch_execute("create extension pgq; create extension pgq_ext cascade").unwrap();
    create_queue(&mut here, "q", "mover");
    create_queue(&mut far, "q", "reader");
    insert_and_tick(&mut here, "q", 0, 10);
    let to = dsn(&there);
    let arguments = ["move", "q", "mover", "--to", &to, "--once"];
    let first = stops(&source, &arguments, "target.checked=stop");
    let second = pgq(&arguments)
        .env("PGQ_DSN", dsn(&source))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let waits = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                  where d.datname = current_database() and locktype = 'advisory' and not granted";
    assert!(wait_until(PATIENCE, || value(&mut far, waits) == "1"));
    goes_on(first);
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(value(&mut far, "select count(*) from pgq.event_template"), "10");
}

/// The library says which error it is, and the statistics do not count the batch twice.
#[test]
fn batch_finished_under_a_handler_is_not_counted() {
    let scratch = database_on(Tree::Ours);
    let mut client = connector(&scratch).connect().unwrap();
    client.batch_execute("create table seen (n int)").unwrap();
    for member in [None, Some("one")] {
        let (queue, consumer) = match member {
            None => ("plain", "c"),
            Some(_) => ("shared", "crew"),
        };
        create_queue(&mut client, queue, "witness");
        if member.is_some() {
            client.batch_execute("create extension pgq_coop").unwrap();
        }
        let mut builder = Consumer::builder(queue, consumer)
            .stop_when_empty(true)
            .on_failure(OnFailure::RepeatBatch);
        if let Some(member) = member {
            builder = builder.cooperative(member, None);
        }
        let mut consumer = builder.connect(&dsn(&scratch)).unwrap();
        consumer.register().unwrap();
        insert_and_tick(&mut client, queue, 0, 5);
        let mut other = scratch.connect();
        let function = if member.is_some() { "pgq_coop" } else { "pgq" };
        let mut handled = 0;
        let stats = consumer
            .run_batches(|batch| {
                handled += 1;
                batch.transaction().batch_execute("insert into seen values (1)")?;
                let finish = format!("select {function}.finish_batch($1)");
                let finished: i32 = other.query_one(&finish, &[&batch.batch().id])?.get(0);
                assert_eq!(finished, 1);
                Ok(())
            })
            .unwrap();
        assert_eq!((handled, stats.batches, stats.events), (1, 0, 0), "{queue}");
        assert_eq!(value(&mut client, "select count(*) from seen"), "0", "{queue}");
        // The next batch is an ordinary one.
        insert_and_tick(&mut client, queue, 5, 8);
        assert_eq!(consumer.run(|_, _| Ok(())).unwrap().events, 3, "{queue}");
    }
}

#[test]
fn batch_that_is_gone_is_an_error_of_its_own() {
    let error = Error::BatchGone { batch_id: 7, consumer: "c".to_owned() };
    assert!(error.is_transient(), "the next batch may be ours");
    assert!(error.to_string().contains("another process finished it"));
}
