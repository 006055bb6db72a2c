//! The consumer of async functions: nothing lost, nothing twice, whatever handler and server do.

use std::time::Duration;

use pgq_client::postgres::types::Type;
use pgq_client::{AsyncBatch, AsyncConsumer, AsyncConsumerBuilder, Error, HandlerError};
use pgq_tests::programs::{create_queue, database_on, dsn, insert_and_tick, tick, value};
use pgq_tests::{PATIENCE, Scratch, Tree, wait_until};
use postgres::Client;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Queue `q` with consumer `c`, table `seen`, and what runs async functions.
fn prepare(tree: Tree) -> (Scratch, Client, Runtime) {
    let scratch = database_on(tree);
    let mut client = scratch.connect();
    create_queue(&mut client, "q", "c");
    client.batch_execute("create table seen (n int)").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (scratch, client, runtime)
}

fn consumer() -> AsyncConsumerBuilder {
    AsyncConsumer::builder("q", "c")
}

/// How often each number was seen.
fn seen(client: &mut Client) -> String {
    value(client, "select count(*) || ' of ' || count(distinct n) from seen")
}

/// Write the payloads of all events into table `seen`.
async fn note(batch: &mut AsyncBatch<'_>) -> Result<(), HandlerError> {
    while let Some(page) = batch.next_page().await? {
        for event in page {
            batch
                .transaction()
                .execute_typed("insert into seen values ($1::int)", &[(&event.data, Type::TEXT)])
                .await?;
        }
    }
    Ok(())
}

fn what_fails_is_undone_and_comes_again(tree: Tree) {
    let (scratch, mut client, runtime) = prepare(tree);
    for from in [0, 10, 20] {
        insert_and_tick(&mut client, "q", from, from + 10);
    }
    let mut consumer = consumer().page_rows(4).max_batches(3).connect(&dsn(&scratch)).unwrap();
    let mut calls = 0;
    let stats = runtime.block_on(consumer.run_batches(async |batch| {
        calls += 1;
        note(batch).await?;
        match calls {
            2 => Err("no luck".into()),
            // The connection breaks before the end of the batch.
            4 => {
                let sql = "select pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";
                batch.transaction().query_typed(sql, &[]).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }));
    let stats = stats.unwrap();
    assert_eq!((calls, stats.batches, stats.events), (5, 3, 30));
    assert_eq!(seen(&mut client), "30 of 30");
    assert_eq!(value(&mut client, "select pgq.next_batch('q', 'c') is null"), "t");
}

#[test]
fn what_fails_is_undone_and_comes_again_on_ours() {
    what_fails_is_undone_and_comes_again(Tree::Ours);
}

#[test]
fn what_fails_is_undone_and_comes_again_on_upstream() {
    what_fails_is_undone_and_comes_again(Tree::Peer);
}

#[test]
fn nothing_is_committed_of_a_batch_that_somebody_else_has_finished() {
    let (scratch, mut client, runtime) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 10);
    insert_and_tick(&mut client, "q", 10, 20);
    let mut consumer = consumer().max_batches(1).connect(&dsn(&scratch)).unwrap();
    let mut first = true;
    let stats = runtime.block_on(consumer.run_batches(async |batch| {
        if std::mem::take(&mut first) {
            // Its connection would not have this thread wait for another runtime.
            let id = batch.batch().id;
            let finish =
                || scratch.connect().execute("select pgq.finish_batch($1)", &[&id]).map(drop);
            std::thread::scope(|scope| scope.spawn(finish).join()).unwrap()?;
        }
        note(batch).await
    }));
    assert_eq!((stats.unwrap().batches, first), (1, false));
    assert_eq!(seen(&mut client), "10 of 10");
    assert_eq!(value(&mut client, "select min(n) from seen"), "10");
}

#[test]
fn a_batch_that_is_dropped_comes_again_and_an_event_when_it_is_to() {
    let (scratch, mut client, runtime) = prepare(Tree::Ours);
    insert_and_tick(&mut client, "q", 0, 3);
    let mut consumer = consumer().connect(&dsn(&scratch)).unwrap();
    runtime.block_on(async {
        let mut batch = consumer.next_batch().await.unwrap().unwrap();
        note(&mut batch).await.unwrap();
        drop(batch);
        let mut batch = consumer.next_batch().await.unwrap().unwrap();
        let page = batch.next_page().await.unwrap().unwrap();
        assert_eq!(page.len(), 3);
        batch.retry(&page[1], Duration::ZERO).await.unwrap();
        assert_eq!(batch.next_page().await.unwrap(), None);
        let report = batch.finish().await.unwrap();
        assert_eq!((report.events, report.retried), (3, 1));
    });
    assert_eq!(seen(&mut client), "0 of 0");
    assert_eq!(value(&mut client, "select pgq.maint_retry_events()"), "1");
    tick(&mut client, "q");
    runtime.block_on(async {
        let mut batch = consumer.next_batch().await.unwrap().unwrap();
        let page = batch.next_page().await.unwrap().unwrap();
        assert_eq!((page.len(), page[0].data.as_deref(), page[0].attempt()), (1, Some("1"), 2));
        batch.finish().await.unwrap();
        assert_eq!(consumer.stats().retried, 1);
    });
}

#[test]
fn a_stop_ends_a_wait_in_the_server() {
    let (scratch, mut client, runtime) = prepare(Tree::Ours);
    let mut consumer =
        consumer().wait_timeout(Duration::from_secs(36_000)).connect(&dsn(&scratch)).unwrap();
    let stop = consumer.stop_handle();
    let run = runtime.spawn(async move { consumer.run_batches(note).await });
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and query like 'call pgq.wait_batch%'
                    and state = 'active'";
    // The runtime has one thread, and moves while something is awaited.
    let waiting = runtime.block_on(async {
        let watch = move || wait_until(PATIENCE, || value(&mut client, waits) == "1");
        let waiting = tokio::task::spawn_blocking(watch).await.unwrap();
        stop.stop();
        let stats = timeout(PATIENCE, run).await.expect("it does not stop").unwrap();
        assert_eq!(stats.unwrap().events, 0);
        waiting
    });
    assert!(waiting, "it does not wait in the server");
    let mut client = scratch.connect();
    assert!(wait_until(PATIENCE, || value(&mut client, waits) == "0"));
}

#[test]
fn what_no_time_cures_is_given_back() {
    let (scratch, mut client, runtime) = prepare(Tree::Ours);
    let mut unknown = AsyncConsumer::builder("none", "c").connect(&dsn(&scratch)).unwrap();
    let error = runtime.block_on(unknown.register()).unwrap_err();
    assert_eq!(error.sqlstate(), Some("42704"), "{error}");
    let error = runtime.block_on(unknown.run_batches(note)).unwrap_err();
    assert_eq!(error.sqlstate(), Some("42704"), "{error}");
    let mut other = AsyncConsumer::builder("q", "other").connect(&dsn(&scratch)).unwrap();
    assert!(runtime.block_on(other.register()).unwrap());
    assert!(!runtime.block_on(other.register()).unwrap());
    assert!(runtime.block_on(other.unregister()).unwrap());
    client.batch_execute("drop extension pgq cascade").unwrap();
    let mut without = consumer().connect(&dsn(&scratch)).unwrap();
    let error = runtime.block_on(without.run_batches(note)).unwrap_err();
    assert!(matches!(error, Error::Missing(_)), "{error}");
}
