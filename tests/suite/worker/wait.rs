//! `pgq.wait_batch`: what it returns, what it holds meanwhile, and how it ends.

use std::thread;

use pgq_tests::query::Doomed;
use pgq_tests::{
    Cluster, PATIENCE, Scratch, scratch_database, scratch_database_with_worker, sqlstate_of,
    wait_until,
};
use postgres::Client;

use super::{consume, events, number, preloaded, quiet_queue, wait_batch, worker_pid};

/// A database with a worker and a queue that nothing but a waiting consumer makes it tick.
fn waiting_room(consumers: &[&str]) -> (Scratch, Client) {
    let database = scratch_database_with_worker();
    let mut client = database.connect();
    quiet_queue(&mut client, consumers);
    worker_pid(&mut client);
    (database, client)
}

/// Wait until so many sessions of the client's database sleep in `wait_batch`; one of their process
/// ids.
fn waiting_pid(client: &mut Client, count: usize) -> i32 {
    let mut pids = Vec::new();
    let waiting = wait_until(PATIENCE, || {
        pids = client
            .query(
                "select pid from pg_stat_activity
                 where datname = current_database() and query like 'call pgq.wait_batch%'
                   and wait_event_type = 'Extension'",
                &[],
            )
            .unwrap();
        pids.len() >= count
    });
    assert!(waiting, "{} sessions wait instead of {count}", pids.len());
    pids.first().unwrap().get(0)
}

#[test]
fn an_event_reaches_a_waiting_consumer_without_any_period() {
    let (database, mut client) = waiting_room(&["c"]);
    let mut consumer = database.connect();
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    waiting_pid(&mut client, 1);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert_eq!(reader.join().unwrap(), ["data"]);
}

#[test]
fn events_from_before_the_wait_come_at_once() {
    let (_database, mut client) = waiting_room(&["c"]);
    client.execute("select pgq.insert_event('q', 'type', 'early')", &[]).unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["early"]);
    // Nothing is new, so nothing is ticked, whoever waits.
    let ticks = number(&mut client, "select count(*) from pgq.tick");
    assert_eq!(wait_batch(&mut client, "c", "300 ms"), None);
    assert_eq!(number(&mut client, "select count(*) from pgq.tick"), ticks);
}

#[test]
fn a_rolled_back_event_wakes_nobody_and_a_savepoint_does_no_harm() {
    let (_database, mut client) = waiting_room(&["c"]);
    client.batch_execute("begin; select pgq.insert_event('q', 'type', 'lost'); rollback").unwrap();
    let ticks = number(&mut client, "select count(*) from pgq.tick");
    assert_eq!(wait_batch(&mut client, "c", "300 ms"), None);
    assert_eq!(number(&mut client, "select count(*) from pgq.tick"), ticks);
    client
        .batch_execute(
            "begin; savepoint s; select pgq.insert_event('q', 'type', 'lost'); rollback to s;
             select pgq.insert_event('q', 'type', 'kept'); commit",
        )
        .unwrap();
    assert_eq!(consume(&mut client, "c", 1), ["kept"]);
}

#[test]
fn a_waiter_holds_no_transaction_snapshot_or_lock() {
    let (database, mut client) = waiting_room(&["c"]);
    let mut consumer = database.connect();
    let reader = thread::spawn(move || wait_batch(&mut consumer, "c", "1 hour"));
    let pid = waiting_pid(&mut client, 1);
    // Now and then it looks for a moment, in a transaction.
    let holds_nothing = format!(
        "select count(*) from pg_stat_activity a where pid = {pid} and wait_event_type = 'Extension'
            and xact_start is null and backend_xid is null and backend_xmin is null
            and not exists (select from pg_locks l where l.pid = a.pid)"
    );
    assert!(wait_until(PATIENCE, || number(&mut client, &holds_nothing) == 1));
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    assert!(reader.join().unwrap().is_some());
}

#[test]
fn the_time_limit_is_kept_and_zero_looks_once() {
    let (_database, mut client) = waiting_room(&["c"]);
    assert_eq!(wait_batch(&mut client, "c", "0"), None);
    assert_eq!(wait_batch(&mut client, "c", "50 ms"), None);
    client.batch_execute("select pgq.insert_event('q', 'type', 'data')").unwrap();
    client.batch_execute("select pgq.force_tick('q')").unwrap();
    client.batch_execute("select pgq.ticker('q')").unwrap();
    assert!(wait_batch(&mut client, "c", "0").is_some());
}

/// Lay ticks without events.
fn idle_ticks(client: &mut Client, count: usize) {
    for _ in 0..count {
        client.batch_execute("select pgq.force_tick('q'); select pgq.ticker('q')").unwrap();
    }
}

/// The consumer's position, and how many ticks it is behind the newest.
fn position(client: &mut Client, consumer: &str) -> (i64, i64) {
    let row = client
        .query_one(
            "select s.sub_last_tick, (select max(tick_id) from pgq.tick) - s.sub_last_tick, s.sub_batch
               from pgq.subscription s join pgq.consumer c on c.co_id = s.sub_consumer
              where c.co_name = $1",
            &[&consumer],
        )
        .unwrap();
    assert_eq!(row.get::<_, Option<i64>>(2), None, "a batch is open");
    (row.get(0), row.get(1))
}

#[test]
fn batches_without_events_are_finished_on_the_way() {
    let (_database, mut client) = waiting_room(&["c", "all", "null"]);
    client
        .batch_execute("update pgq.subscription set sub_active = now() - interval '1 day'")
        .unwrap();
    idle_ticks(&mut client, 250);
    assert_eq!(wait_batch(&mut client, "c", "0"), None);
    assert_eq!(position(&mut client, "c").1, 0);
    let alive = "select count(*) from pgq.get_consumer_info('q', 'c') where last_seen < '1 hour'";
    assert_eq!(number(&mut client, alive), 1);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    idle_ticks(&mut client, 3);
    let batch = wait_batch(&mut client, "c", "1 hour").unwrap();
    assert_eq!(events(&mut client, batch), ["data"]);
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    assert_eq!(wait_batch(&mut client, "c", "50 ms"), None);
    assert_eq!(position(&mut client, "c").1, 0);

    // Who wants every tick gets every tick; NULL is what clients say that do not know of the
    // argument.
    for (consumer, argument) in [("all", "false"), ("null", "null")] {
        let mut ticks = Vec::new();
        let call = format!("call pgq.wait_batch('q', '{consumer}', '0', null, {argument})");
        while let Some(batch) = client.query_one(&call, &[]).unwrap().get::<_, Option<i64>>(0) {
            ticks.extend(
                client
                    .query("select prev_tick_id, tick_id from pgq.get_batch_info($1)", &[&batch])
                    .unwrap(),
            );
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
        assert!(ticks.len() > 250, "{consumer}: {}", ticks.len());
        assert!(
            ticks.windows(2).all(|pair| pair[0].get::<_, i64>(1) == pair[1].get::<_, i64>(0)),
            "{consumer} missed a tick"
        );
    }
}

#[test]
fn an_open_batch_is_returned_again_and_an_empty_one_is_finished() {
    let (_database, mut client) = waiting_room(&["c"]);
    idle_ticks(&mut client, 1);
    // Opened by another call, and empty.
    assert!(number(&mut client, "select pgq.next_batch('q', 'c')") > 0);
    assert_eq!(wait_batch(&mut client, "c", "0"), None);
    assert_eq!(position(&mut client, "c").1, 0);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    let first = wait_batch(&mut client, "c", "1 hour").unwrap();
    assert_eq!(wait_batch(&mut client, "c", "0"), Some(first));
    assert_eq!(wait_batch(&mut client, "c", "1 hour"), Some(first));
}

#[test]
fn the_time_counts_while_empty_batches_are_skipped() {
    let (_database, mut client) = waiting_room(&["c"]);
    idle_ticks(&mut client, 150);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    idle_ticks(&mut client, 1);
    // So many batches take longer than that. What was skipped stays skipped.
    assert_eq!(wait_batch(&mut client, "c", "1 us"), None);
    assert!(position(&mut client, "c").1 > 1);
    // Who looks once sees the event.
    let batch = wait_batch(&mut client, "c", "0").unwrap();
    assert_eq!(events(&mut client, batch), ["data"]);
}

#[test]
fn a_consumer_that_waits_for_long_is_seen_to_live() {
    let database = scratch_database();
    let mut client = database.connect();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    let mut consumer = database.connect();
    let reader = thread::spawn(move || {
        consumer.batch_execute("call pgq.wait_batch('q', 'c', '1 hour')").unwrap_err()
    });
    let pid = waiting_pid(&mut client, 1);
    client.batch_execute("create table since as select clock_timestamp() as time").unwrap();
    idle_ticks(&mut client, 1);
    let seen = "select count(*) from pgq.subscription where sub_active > (select time from since)";
    assert!(wait_until(PATIENCE, || number(&mut client, seen) == 1));
    // It was at work when it said so, not when the call began.
    client.execute("select pg_cancel_backend($1)", &[&pid]).unwrap();
    reader.join().unwrap();
}

#[test]
fn events_that_come_again_count_for_their_owner_only() {
    let (_database, mut client) = waiting_room(&["c", "other"]);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    let batch = wait_batch(&mut client, "c", "1 hour").unwrap();
    client
        .execute("select pgq.event_retry($1, ev_id, 0) from pgq.get_batch_events($1)", &[&batch])
        .unwrap();
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    let batch = wait_batch(&mut client, "other", "1 hour").unwrap();
    client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    let moved = "select count(*) from pgq.event_1 where ev_owner is not null";
    assert!(wait_until(PATIENCE, || {
        client.batch_execute("select pgq.maint_retry_events()").unwrap();
        number(&mut client, moved) == 1
    }));
    idle_ticks(&mut client, 1);
    assert_eq!(wait_batch(&mut client, "other", "0"), None);
    assert_eq!(position(&mut client, "other").1, 0);
    let batch = wait_batch(&mut client, "c", "1 hour").unwrap();
    assert_eq!(events(&mut client, batch), ["data"]);
}

#[test]
fn where_it_cannot_be_told_whether_a_batch_is_empty_it_is_returned() {
    let (database, mut client) = waiting_room(&["c"]);
    let blind = format!("{}_blind", database.name());
    client
        .batch_execute(&format!(
            "create role \"{blind}\" login;
             grant usage on schema pgq to \"{blind}\";
             grant execute on all functions in schema pgq to \"{blind}\";
             grant execute on procedure pgq.wait_batch to \"{blind}\""
        ))
        .unwrap();
    idle_ticks(&mut client, 1);
    let mut session = database.connect_as(&blind);
    assert!(wait_batch(&mut session, "c", "0").is_some());
    drop(session);
    client.batch_execute(&format!("drop owned by \"{blind}\"; drop role \"{blind}\"")).unwrap();
}

#[test]
fn misuse_is_refused_with_the_documented_codes() {
    let (_database, mut client) = waiting_room(&["c"]);
    let mut code = |sql: &str| sqlstate_of(client.batch_execute(sql));
    assert_eq!(code("call pgq.wait_batch('q', 'nobody', '1 s')"), "42704");
    assert_eq!(code("call pgq.wait_batch('nothing', 'c', '1 s')"), "42704");
    assert_eq!(code("call pgq.wait_batch(null, 'c', '1 s')"), "22004");
    assert_eq!(code("call pgq.wait_batch('q', null, '1 s')"), "22004");
    assert_eq!(code("call pgq.wait_batch('q', 'c', '-1 s')"), "22023");
    assert_eq!(code("begin; call pgq.wait_batch('q', 'c', '1 s')"), "25001");
    // Strings of several statements are one transaction.
    assert_eq!(code("rollback; call pgq.wait_batch('q', 'c', '1 s')"), "25001");
    client.batch_execute("call pgq.wait_batch('q', 'c', '0')").unwrap();
}

#[test]
fn two_waiters_of_one_consumer_get_the_same_batch() {
    let (database, mut client) = waiting_room(&["c"]);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let mut consumer = database.connect();
            thread::spawn(move || wait_batch(&mut consumer, "c", "1 hour"))
        })
        .collect();
    waiting_pid(&mut client, 2);
    client.execute("select pgq.insert_event('q', 'type', 'data')", &[]).unwrap();
    let batches: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(batches[0].is_some());
    assert_eq!(batches[0], batches[1]);
    assert_eq!(events(&mut client, batches[0].unwrap()), ["data"]);
}

#[test]
fn every_waiting_consumer_gets_every_event() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let (database, mut client) =
        waiting_room(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let readers: Vec<_> = names
        .into_iter()
        .map(|name| {
            let mut consumer = database.connect();
            thread::spawn(move || consume(&mut consumer, &name, 3))
        })
        .collect();
    waiting_pid(&mut client, 20);
    for data in ["1", "2", "3"] {
        client.execute("select pgq.insert_event('q', 'type', $1)", &[&data]).unwrap();
    }
    for reader in readers {
        assert_eq!(reader.join().unwrap(), ["1", "2", "3"]);
    }
}

#[test]
fn a_waiter_ends_when_it_is_cancelled_or_terminated() {
    let (database, mut client) = waiting_room(&["c"]);
    for (how, expected) in [("cancel", "ERROR:  57014: "), ("terminate", "FATAL:  57P01: ")] {
        let call = "call pgq.wait_batch('q', 'c', null)";
        let waiter = Doomed::begin(database.cluster(), database.name(), call);
        let pid = waiting_pid(&mut client, 1);
        client.execute(&format!("select pg_{how}_backend({pid})"), &[]).unwrap();
        let said = waiter.last_words();
        assert!(said.starts_with(expected), "{said}");
    }
    // Whoever ended left nothing behind: nobody waits, so nothing is ticked.
    let waits = "select count(*) from pgq._worker_waiters()";
    assert!(wait_until(PATIENCE, || number(&mut client, waits) == 0));
}

#[test]
fn a_waiter_whose_client_is_gone_ends() {
    let (database, mut client) = waiting_room(&["c"]);
    let mut psql = database
        .cluster()
        .command("psql")
        .args(["-X", "-d", database.name(), "-c", "call pgq.wait_batch('q', 'c', null)"])
        .spawn()
        .unwrap();
    let pid = waiting_pid(&mut client, 1);
    psql.kill().unwrap();
    psql.wait().unwrap();
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    assert!(wait_until(PATIENCE, || number(&mut client, &gone) == 0), "the session is still there");
}

#[test]
fn a_procedure_can_wait() {
    let (_database, mut client) = waiting_room(&["c"]);
    client
        .batch_execute(
            "create table result (batch bigint);
             create procedure collect() language plpgsql as $$
             declare
                 b bigint;
             begin
                 call pgq.wait_batch('q', 'c', '100 ms', b);
                 if b is not null then
                     raise exception 'a batch came from nowhere';
                 end if;
                 perform pgq.insert_event('q', 'type', 'data');
                 commit;
                 call pgq.wait_batch('q', 'c', '1 hour', b);
                 insert into result values (b);
             end $$",
        )
        .unwrap();
    client.batch_execute("call collect()").unwrap();
    let batch = number(&mut client, "select batch from result");
    assert_eq!(events(&mut client, batch), ["data"]);
    assert_eq!(
        sqlstate_of(client.batch_execute(
            "create function f() returns void language plpgsql as $$
             declare b bigint; begin call pgq.wait_batch('q', 'c', '1 s', b); end $$;
             select f()"
        )),
        "25001"
    );
}

#[test]
fn a_prepared_transaction_wakes_the_consumer_when_it_is_committed() {
    let (database, mut client) = waiting_room(&["c"]);
    let gid = database.name();
    client
        .batch_execute(&format!(
            "begin; select pgq.insert_event('q', 'type', 'prepared'); prepare transaction '{gid}'"
        ))
        .unwrap();
    assert_eq!(wait_batch(&mut client, "c", "200 ms"), None);
    let mut consumer = database.connect();
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    waiting_pid(&mut client, 1);
    client.batch_execute(&format!("commit prepared '{gid}'")).unwrap();
    assert_eq!(reader.join().unwrap(), ["prepared"]);
}

#[test]
fn a_prepared_transaction_wakes_the_consumer_after_a_restart_too() {
    let mut cluster = preloaded().set("pgq.ticker_period", "1h").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    client
        .batch_execute(
            "begin; select pgq.insert_event('q', 'type', 'prepared'); prepare transaction 'p'",
        )
        .unwrap();
    drop(client);
    cluster.restart();
    let mut client = cluster.connect("postgres");
    worker_pid(&mut client);
    let mut consumer = cluster.connect("postgres");
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    waiting_pid(&mut client, 1);
    client.batch_execute("commit prepared 'p'").unwrap();
    assert_eq!(reader.join().unwrap(), ["prepared"]);
}

#[test]
fn ticks_that_others_lay_wake_the_consumer() {
    let cluster: Cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    client.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')").unwrap();
    worker_pid(&mut client);
    let mut consumer = cluster.connect("postgres");
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    waiting_pid(&mut client, 1);
    client.batch_execute("select pgq.insert_event('q', 'type', 'data')").unwrap();
    client.batch_execute("select pgq.ticker('q', 100, now(), 100)").unwrap();
    assert_eq!(reader.join().unwrap(), ["data"]);
}

/// A branch of a cascade lays its provider's ticks. Nobody else comes by: the period is an hour.
#[test]
fn the_commit_of_a_tick_from_elsewhere_wakes_who_waits_for_the_queue() {
    let cluster: Cluster = preloaded().set("pgq.ticker_period", "1h").start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    client.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')").unwrap();
    worker_pid(&mut client);
    // The waiter has registered, and is kept from looking: its wake-ups can be counted.
    let mut holder = cluster.connect("postgres");
    holder.batch_execute("begin; lock table pgq.subscription").unwrap();
    let mut consumer = cluster.connect("postgres");
    let reader = thread::spawn(move || wait_batch(&mut consumer, "c", "1 hour"));
    // The worker may want to look at that table, too.
    let blocked = "select count(*) from pg_locks l join pg_stat_activity a using (pid)
                    where not granted and query like 'call pgq.wait_batch%'";
    assert!(wait_until(PATIENCE, || number(&mut client, blocked) == 1));
    let wakes = "select sum(wakes) from pgq._worker_waiters()";
    let first = number(&mut client, wakes);
    let lay = |id| format!("begin; select pgq.ticker('q', {id}, now(), {id})");
    client.batch_execute(&lay(10)).unwrap();
    assert_eq!(number(&mut client, wakes), first, "it has not committed");
    client.batch_execute("rollback").unwrap();
    assert_eq!(number(&mut client, wakes), first, "there is no tick");
    client.batch_execute(&format!("{}; commit", lay(11))).unwrap();
    assert_eq!(number(&mut client, wakes), first + 1);
    client.batch_execute(&format!("{}; prepare transaction 'p'", lay(12))).unwrap();
    assert_eq!(number(&mut client, wakes), first + 1, "it is only prepared");
    client.batch_execute("commit prepared 'p'").unwrap();
    assert_eq!(number(&mut client, wakes), first + 2);
    holder.batch_execute("rollback").unwrap();
    client.batch_execute("select pgq.insert_event('q', 'type', 'data')").unwrap();
    client.batch_execute(&format!("{}; commit", lay(13))).unwrap();
    assert!(reader.join().unwrap().is_some());
}

#[test]
fn without_the_library_preloaded_it_looks_again_and_again() {
    let database = scratch_database();
    let mut client = database.connect();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    let mut consumer = database.connect();
    let reader = thread::spawn(move || consume(&mut consumer, "c", 1));
    waiting_pid(&mut client, 1);
    client.batch_execute("select pgq.insert_event('q', 'type', 'data')").unwrap();
    client.batch_execute("select pgq.force_tick('q')").unwrap();
    client.batch_execute("select pgq.ticker('q')").unwrap();
    assert_eq!(reader.join().unwrap(), ["data"]);
    assert_eq!(wait_batch(&mut client, "c", "150 ms"), None);
}

#[test]
fn shutdown_does_not_wait_for_waiters() {
    let mut cluster = preloaded().start();
    let mut client = cluster.connect("postgres");
    client.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut client, &["c"]);
    worker_pid(&mut client);
    let mut consumer = cluster.connect("postgres");
    let reader = thread::spawn(move || {
        consumer.batch_execute("call pgq.wait_batch('q', 'c', null)").unwrap_err();
    });
    waiting_pid(&mut client, 1);
    cluster.stop(pgq_tests::Stop::Fast);
    reader.join().unwrap();
}

/// What psql is told: its messages on stderr, with hints.
fn told(database: &Scratch, call: &str) -> String {
    let output = database
        .cluster()
        .command("psql")
        .args(["-X", "-q", "-A", "-t", "-d", database.name(), "-c", call])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn who_waits_in_vain_is_told_why_once() {
    let (database, mut client) = waiting_room(&["c"]);
    idle_ticks(&mut client, 2);
    // All is well: nothing is told, however long it lasts.
    for limit in ["0", "100 ms", "3 s"] {
        assert_eq!(told(&database, &format!("call pgq.wait_batch('q', 'c', '{limit}')")), "");
    }
    client.batch_execute("select pgq.pause_queue('q')").unwrap();
    for limit in ["0", "100 ms", "3500 ms"] {
        let text = told(&database, &format!("call pgq.wait_batch('q', 'c', '{limit}')"));
        assert_eq!(text.matches("NOTICE:  queue \"q\" is paused").count(), 1, "{limit}: {text}");
        assert!(text.contains("HINT:  Call pgq.resume_queue()."), "{text}");
    }
    client.batch_execute("select pgq.resume_queue('q')").unwrap();

    client.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'true')").unwrap();
    assert_eq!(told(&database, "call pgq.wait_batch('q', 'c', '100 ms')"), "");
    client
        .batch_execute(
            "select pgq.set_queue_config('q', 'ticker_idle_period', '1 s');
             update pgq.tick set tick_time = tick_time - interval '10 hours'",
        )
        .unwrap();
    let text = told(&database, "call pgq.wait_batch('q', 'c', '100 ms')");
    assert!(text.contains("come from elsewhere, and have not come for 10:"), "{text}");
    client.batch_execute("select pgq.set_queue_config('q', 'external_ticker', 'false')").unwrap();

    client.batch_execute("select pgq.stop_worker()").unwrap();
    let running =
        "select count(pid) from pgq.worker_status() where database_name = current_database()";
    assert!(wait_until(PATIENCE, || number(&mut client, running) == 0));
    let text = told(&database, "call pgq.wait_batch('q', 'c', '1500 ms')");
    assert_eq!(text.matches("NOTICE:  no worker runs: it is stopped").count(), 1, "{text}");
    assert!(text.contains("HINT:  Call pgq.start_worker()."), "{text}");
}

#[test]
fn who_waits_in_a_server_without_a_ticker_is_told_so() {
    let database = scratch_database();
    let mut client = database.connect();
    client
        .batch_execute("select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')")
        .unwrap();
    let text = told(&database, "call pgq.wait_batch('q', 'c', '1500 ms')");
    assert_eq!(text.matches("NOTICE:").count(), 1, "{text}");
    assert!(text.contains("pgq is not in shared_preload_libraries"), "{text}");
    assert!(text.contains("HINT:  Add pgq to shared_preload_libraries"), "{text}");
    // Somebody else ticks: there is nothing to tell.
    idle_ticks(&mut client, 3);
    assert_eq!(told(&database, "call pgq.wait_batch('q', 'c', '0')"), "");
    // Somebody else did once, and does not any more.
    client.batch_execute("update pgq.tick set tick_time = tick_time - interval '1 hour'").unwrap();
    let text = told(&database, "call pgq.wait_batch('q', 'c', '0')");
    assert_eq!(text.matches("NOTICE:").count(), 1, "{text}");
}

#[test]
fn who_waits_where_no_worker_is_left_is_told_so() {
    let cluster = preloaded().set("pgq.max_workers", 1).start();
    let mut first = cluster.connect("postgres");
    first.batch_execute("create extension pgq").unwrap();
    first.batch_execute("create database second").unwrap();
    worker_pid(&mut first);
    let mut second = cluster.connect("second");
    second.batch_execute("create extension pgq").unwrap();
    quiet_queue(&mut second, &["c"]);
    let output = cluster
        .command("psql")
        .args(["-X", "-d", "second", "-c", "call pgq.wait_batch('q', 'c', '1500 ms')"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("pgq.max_workers is used up"), "{text}");
    assert!(text.contains("HINT:"), "{text}");
}
