//! When ticks are laid, by whom, and how a backlog is divided.

use std::collections::BTreeMap;

use pgq_tests::{Cluster, PATIENCE, Random, Scratch, scratch_database, wait_until};
use postgres::{Client, IsolationLevel};

use pgq_tests::query::{outcome, row, rows, run};

/// A queue `q` with a consumer `c`, whose ticks only come when the count or the lag says so.
fn queue() -> (Scratch, Client) {
    let database = scratch_database();
    let client = with_queue(database.connect());
    (database, client)
}

fn with_queue(mut client: Client) -> Client {
    run(&mut client, "select pgq.create_queue('q'); select pgq.register_consumer('q', 'c')");
    run(&mut client, "select pgq.ticker()"); // the second tick is always immediate
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '1 hour', queue_ticker_idle_period = '1 day'",
    );
    client
}

fn insert(client: &mut Client, count: i32) {
    client
        .execute(
            "select pgq.insert_event('q', 'test', n::text) from generate_series(1, $1) n",
            &[&count],
        )
        .unwrap();
}

/// Make the newest tick older.
fn age(client: &mut Client, interval: &str) {
    run(client, &format!("update pgq.tick set tick_time = tick_time - interval '{interval}'"));
}

/// Read on to the end: ids of the events of each batch.
fn drain(client: &mut Client) -> Vec<Vec<i64>> {
    let mut batches = Vec::new();
    loop {
        let batch: Option<i64> =
            client.query_one("select pgq.next_batch('q', 'c')", &[]).unwrap().get(0);
        let Some(batch) = batch else { return batches };
        let ids = client.query("select ev_id from pgq.get_batch_events($1)", &[&batch]).unwrap();
        batches.push(ids.iter().map(|row| row.get(0)).collect());
        client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
    }
}

#[test]
fn count_lag_and_idle_period_decide() {
    let (_database, mut client) = queue();
    let ticker = "select pgq.ticker('q')";
    assert_eq!(row(&mut client, ticker), "∅");
    insert(&mut client, 499);
    assert_eq!(row(&mut client, ticker), "∅");
    insert(&mut client, 2);
    assert_eq!(row(&mut client, ticker), "3");
    insert(&mut client, 1);
    assert_eq!(row(&mut client, ticker), "∅");
    age(&mut client, "1 hour");
    assert_eq!(row(&mut client, ticker), "4");
    // Without events: at first after half the lag, then in doubling intervals.
    age(&mut client, "29 minutes");
    assert_eq!(row(&mut client, ticker), "∅");
    run(
        &mut client,
        "update pgq.tick set tick_time = now() - interval '40 minutes' where tick_id = 4",
    );
    run(&mut client, "update pgq.tick set tick_time = now() - interval '1 hour' where tick_id = 3");
    assert_eq!(row(&mut client, ticker), "5");
    age(&mut client, "79 minutes");
    assert_eq!(row(&mut client, ticker), "∅");
    age(&mut client, "2 minutes");
    assert_eq!(row(&mut client, ticker), "6");
    // The idle period is the longest distance.
    run(
        &mut client,
        "update pgq.tick set tick_time = now() - interval '25 hours' where tick_id = 6",
    );
    run(
        &mut client,
        "update pgq.tick set tick_time = now() - interval '25 days' where tick_id < 6",
    );
    assert_eq!(row(&mut client, ticker), "7");
}

#[test]
fn one_call_over_all_queues_decides_as_one_call_each() {
    let database = scratch_database();
    let mut client = database.connect();
    let mut random = Random::for_test("one_call_over_all_queues_decides_as_one_call_each");
    run(&mut client, "select pgq.create_queue('q' || n) from generate_series(1, 40) n");
    for _round in 0..6 {
        for n in 1..=40 {
            let lag = random.below(8);
            let idle = random.below(30);
            let ago = random.below(40);
            run(
                &mut client,
                &format!(
                    "update pgq.queue set queue_ticker_max_count = {}, queue_ticker_max_lag = '{lag} s',
                            queue_ticker_idle_period = '{idle} s' where queue_name = 'q{n}';
                     update pgq.tick set tick_time = tick_time - interval '{ago} s'
                      where tick_queue = (select queue_id from pgq.queue where queue_name = 'q{n}');
                     select pgq.insert_event('q{n}', 'test', '') from generate_series(1, {})",
                    1 + random.below(4),
                    random.below(5)
                ),
            );
        }
        // In one transaction both see the same time, and what the first does is taken back.
        run(&mut client, "begin; savepoint s");
        let each = row(
            &mut client,
            "select count(t) from (select pgq.ticker(queue_name) as t from pgq.queue) x",
        );
        run(&mut client, "rollback to s");
        assert_eq!(row(&mut client, "select pgq.ticker()"), each);
        run(&mut client, "commit");
    }
}

#[test]
fn first_event_is_noticed() {
    let (_database, mut client) = queue();
    insert(&mut client, 1);
    assert_eq!(row(&mut client, "select pgq.ticker()"), "0");
    age(&mut client, "1 hour");
    assert_eq!(row(&mut client, "select pgq.ticker()"), "1");
    assert_eq!(drain(&mut client).concat(), [1]);
    age(&mut client, "90 minutes");
    assert_eq!(row(&mut client, "select pgq.ticker()"), "0", "no event waits");
    age(&mut client, "1 hour");
    assert_eq!(row(&mut client, "select pgq.ticker()"), "1", "the idle rule");
}

#[test]
fn events_committed_after_their_ids_were_counted_follow_the_lag() {
    let (database, mut client) = queue();
    let mut late = database.connect();
    insert(&mut client, 3);
    let mut open = late.transaction().unwrap();
    open.execute("select pgq.insert_event('q', 'test', 'late')", &[]).unwrap();
    age(&mut client, "1 hour");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "3");
    // As if there had been a long rest before, so that the idle rule is far away.
    run(
        &mut client,
        "update pgq.tick set tick_time = now() - interval '20 hours' where tick_id < 3",
    );
    run(
        &mut client,
        "update pgq.tick set tick_time = now() - interval '61 minutes' where tick_id = 3",
    );
    assert_eq!(row(&mut client, "select pgq.ticker()"), "0");
    open.commit().unwrap();
    assert_eq!(row(&mut client, "select pgq.ticker()"), "1");
    assert_eq!(drain(&mut client).last().unwrap(), &[4]);
}

#[test]
fn so_do_events_of_the_youngest_transaction_of_a_quiet_server() {
    // Nobody else is given transaction ids here, so the tick's snapshot ends before the one that is
    // open, and does not name it.
    let cluster = Cluster::builder().set("autovacuum", "off").set("fsync", "off").start();
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "create extension pgq; select pgq.create_queue('q'); select pgq.register_consumer('q', 'c');
         select pgq.set_queue_config('q', 'ticker_max_lag', '0');
         select pgq.set_queue_config('q', 'ticker_idle_period', '2 hours');",
    );
    insert(&mut client, 3);
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "2");
    age(&mut client, "1 hour");
    let mut late = cluster.connect("postgres");
    let mut open = late.transaction().unwrap();
    open.execute("select pgq.insert_event('q', 'test', 'late')", &[]).unwrap();
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "3");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "∅");
    open.commit().unwrap();
    assert_eq!(row(&mut client, "select pgq.ticker()"), "1");
    assert_eq!(drain(&mut client).last().unwrap(), &[4]);
}

#[test]
fn tick_on_demand_needs_a_committed_event() {
    let (database, mut client) = queue();
    let demand = "select pgq._tick_on_demand('q')";
    assert_eq!(row(&mut client, demand), "∅");
    let mut other = database.connect();
    let mut open = other.transaction().unwrap();
    open.execute("select pgq.insert_event('q', 'test', 'x')", &[]).unwrap();
    assert_eq!(row(&mut client, demand), "∅");
    open.commit().unwrap();
    assert_eq!(row(&mut client, demand), "3");
    assert_eq!(row(&mut client, demand), "∅");
    run(&mut client, "select pgq.set_queue_config('q', 'ticker_paused', 'true')");
    insert(&mut client, 1);
    assert_eq!(row(&mut client, demand), "∅");
    assert_eq!(
        outcome(&mut client, "select pgq._tick_on_demand('x')"),
        "ERROR 42704: no such queue"
    );
}

#[test]
fn ticks_are_durable_once_committed() {
    let (_database, mut client) = queue();
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    run(&mut client, "set synchronous_commit = off");
    run(&mut client, "begin; select pgq.ticker()");
    assert_eq!(row(&mut client, "show synchronous_commit"), "local");
    run(&mut client, "commit");
    assert_eq!(row(&mut client, "show synchronous_commit"), "off");
}

#[test]
fn one_broken_queue_does_not_stop_the_others() {
    let database = scratch_database();
    let mut client = database.connect();
    run(&mut client, "select pgq.create_queue(q) from unnest(array['a', 'broken', 'c']) q");
    run(
        &mut client,
        "update pgq.queue set queue_event_seq = 'pgq.none' where queue_name = 'broken'",
    );
    let warnings = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&warnings);
    let mut config: postgres::Config =
        database.cluster().conninfo(database.name()).parse().unwrap();
    config.notice_callback(move |notice| seen.lock().unwrap().push(notice.message().to_owned()));
    let mut client = config.connect(postgres::NoTls).unwrap();
    assert_eq!(row(&mut client, "select pgq.ticker()"), "2");
    let warnings = warnings.lock().unwrap();
    assert_eq!(*warnings, ["ticker: queue \"broken\": relation \"pgq.none\" does not exist"]);
}

#[test]
fn ticker_waits_for_another_one_and_skips_it_among_many() {
    let (database, mut client) = queue();
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    run(&mut client, "begin");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "3");
    let mut second = database.connect();
    assert_eq!(row(&mut second, "select pgq.ticker()"), "0");
    let waiting = std::thread::spawn(move || row(&mut second, "select pgq.ticker('q')"));
    let mut watch = database.connect();
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                   and database = (select oid from pg_database where datname = current_database())";
    assert!(wait_until(PATIENCE, || row(&mut watch, waits) == "1"));
    run(&mut client, "commit");
    assert_eq!(waiting.join().unwrap(), "4");
    let order = "select bool_and(txid_snapshot_xmax(b.tick_snapshot) >= txid_snapshot_xmax(a.tick_snapshot))
                   from pgq.tick a join pgq.tick b on b.tick_id = a.tick_id + 1";
    assert_eq!(row(&mut watch, order), "t");
}

#[test]
fn old_snapshot_lays_no_tick_after_a_newer_one() {
    let (database, mut client) = queue();
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    let mut old = database.connect();
    let mut transaction =
        old.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().unwrap();
    transaction.execute("select 1", &[]).unwrap();
    insert(&mut client, 1);
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "3");
    let tick: Option<i64> = transaction.query_one("select pgq.ticker('q')", &[]).unwrap().get(0);
    assert_eq!(tick, None);
    transaction.commit().unwrap();
    // A tick id that was lost to a rollback is no newer tick.
    run(&mut client, "begin; select pgq.ticker('q'); rollback");
    run(&mut client, "begin isolation level repeatable read");
    assert_eq!(row(&mut client, "select pgq.ticker('q')"), "5");
    run(&mut client, "commit");
    assert_eq!(drain(&mut client).concat(), [1]);
}

#[test]
fn backlog_is_divided_at_the_cap_between_transactions() {
    let (_database, mut client) = queue();
    run(&mut client, "select pgq.set_queue_config('q', 'batch_max_count', '10')");
    for size in [3, 3, 3, 3, 25, 9, 1, 1] {
        insert(&mut client, size);
    }
    age(&mut client, "1 hour");
    run(&mut client, "select pgq.ticker()");
    let sizes: Vec<_> = drain(&mut client).iter().map(Vec::len).collect();
    // The first batch is the empty one of the second tick.
    assert_eq!(sizes, [0, 9, 3, 25, 10, 1]);
    let sequence = "select bool_and(b.tick_event_seq >= a.tick_event_seq), max(b.tick_event_seq)
                      from pgq.tick a join pgq.tick b on b.tick_id = a.tick_id + 1";
    assert_eq!(row(&mut client, sequence), "t|48");
}

#[test]
fn transactions_open_across_rotation_are_found_where_they_wrote() {
    // A server of its own: transactions of other tests would keep the rotation from happening.
    let cluster = Cluster::builder().set("autovacuum", "off").start();
    run(&mut cluster.connect("postgres"), "create extension pgq");
    let mut client = with_queue(cluster.connect("postgres"));
    run(&mut client, "select pgq.set_queue_config('q', 'batch_max_count', '2')");
    run(&mut client, "select pgq.force_tick('q'); select pgq.ticker('q')");
    drain(&mut client);
    // Older than the switch, and writes after it.
    let mut early = cluster.connect("postgres");
    run(&mut early, "begin; select txid_current()");
    let mut both = cluster.connect("postgres");
    run(&mut both, "begin; select pgq.insert_event('q', 'test', 'before')");
    insert(&mut client, 2);
    insert(&mut client, 2);
    run(&mut client, "update pgq.queue set queue_switch_time = now() - interval '1 day'");
    run(&mut client, "select pgq.maint_rotate_tables_step1('q')");
    assert_eq!(row(&mut client, "select queue_cur_table from pgq.queue"), "1");
    run(&mut early, "select pgq.insert_event('q', 'test', 'early'); commit");
    run(&mut both, "select pgq.insert_event('q', 'test', 'after'); commit");
    run(&mut client, "select pgq.maint_rotate_tables_step2()");
    insert(&mut client, 2);
    age(&mut client, "1 hour");
    run(&mut client, "select pgq.ticker('q')");
    // Whatever ends before the switch is taken to be in the old table.
    let hidden = "select count(*) from pgq.tick t, pgq.queue q, pgq.event_1_1 e
                   where txid_snapshot_xmax(t.tick_snapshot) < q.queue_switch_step1
                     and txid_visible_in_snapshot(e.ev_txid, t.tick_snapshot)";
    assert_eq!(row(&mut client, hidden), "0");
    let batches = drain(&mut client);
    assert!(batches.iter().all(|batch| batch.len() <= 2), "{batches:?}");
    let mut ids = batches.concat();
    ids.sort_unstable();
    assert_eq!(ids.len(), 9, "{batches:?}");
    ids.dedup();
    assert_eq!(ids.len(), 9, "{batches:?}");
}

/// Transactions that begin, write, commit and roll back in any order, with ticks and rotations
/// among them: each batch keeps to the cap, or is one transaction; each event comes once, with all
/// of its transaction.
#[test]
fn random_interleavings_are_divided_without_loss() {
    let mut random = Random::for_test("random_interleavings_are_divided_without_loss");
    let (database, mut client) = queue();
    run(
        &mut client,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    let mut sessions: Vec<(Client, bool)> = (0..6).map(|_| (database.connect(), false)).collect();
    let mut batches: Vec<Vec<(i64, i64)>> = Vec::new();
    let mut read = |client: &mut Client, cap: usize| {
        loop {
            let batch: Option<i64> =
                client.query_one("select pgq.next_batch('q', 'c')", &[]).unwrap().get(0);
            let Some(batch) = batch else { return };
            let events = client
                .query("select ev_txid, ev_id from pgq.get_batch_events($1)", &[&batch])
                .unwrap();
            let events: Vec<(i64, i64)> =
                events.iter().map(|row| (row.get(0), row.get(1))).collect();
            let transactions: std::collections::BTreeSet<_> =
                events.iter().map(|event| event.0).collect();
            assert!(events.len() <= cap || transactions.len() == 1, "cap {cap}: {events:?}");
            batches.push(events);
            client.execute("select pgq.finish_batch($1)", &[&batch]).unwrap();
        }
    };
    let mut cap = 3;
    run(&mut client, "select pgq.set_queue_config('q', 'batch_max_count', '3')");
    for _step in 0..900 {
        let choice = usize::try_from(random.below(6)).unwrap();
        match random.below(20) {
            0 => {
                run(&mut client, "select pgq.ticker('q')");
                read(&mut client, cap);
            }
            1 => {
                read(&mut client, cap);
                run(
                    &mut client,
                    "update pgq.queue set queue_switch_time = now() - interval '1 day'",
                );
                run(&mut client, "select pgq.maint_rotate_tables_step1('q')");
            }
            2 => run(&mut client, "select pgq.maint_rotate_tables_step2()"),
            3 if random.one_in(4) => {
                run(&mut client, "select pgq.ticker('q')");
                read(&mut client, cap);
                cap = usize::try_from(1 + random.below(8)).unwrap();
                run(
                    &mut client,
                    &format!("select pgq.set_queue_config('q', 'batch_max_count', '{cap}')"),
                );
            }
            _ => {
                let (session, is_open) = &mut sessions[choice];
                match (*is_open, random.below(8)) {
                    (false, _) => {
                        run(session, "begin");
                        if random.one_in(2) {
                            run(session, "select txid_current()");
                        }
                        *is_open = true;
                    }
                    (true, 0) => {
                        run(session, "rollback");
                        *is_open = false;
                    }
                    (true, 1 | 2) => {
                        run(session, "commit");
                        *is_open = false;
                    }
                    (true, _) => run(session, "select pgq.insert_event('q', 'test', '')"),
                }
            }
        }
    }
    for (session, _) in &mut sessions {
        run(session, "commit");
    }
    run(&mut client, "select pgq.force_tick('q'); select pgq.ticker('q')");
    read(&mut client, cap);

    let mut places: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    let mut ids = Vec::new();
    for (place, events) in batches.iter().enumerate() {
        for (transaction, id) in events {
            places.entry(*transaction).or_default().push(place);
            ids.push(*id);
        }
    }
    for (transaction, mut batches) in places {
        batches.dedup();
        assert_eq!(batches.len(), 1, "transaction {transaction} is torn");
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an event came twice");
    // Tables that are not truncated yet still have their events: all of those came.
    for id in rows(&mut client, "select ev_id from pgq.event_template") {
        assert!(ids.binary_search(&id.parse().unwrap()).is_ok(), "event {id} did not come");
    }
    assert!(count > 100, "the test did nothing");
}
