//! A database with queues goes through pg_dump into another cluster, whose transaction ids are
//! smaller or larger.

use std::collections::BTreeMap;

use pgq_tests::{Cluster, Scratch, Stop, Tree, scratch_database, scratch_database_on};
use postgres::Client;

use pgq_tests::query::{outcome, row, rows, run};

const CONSUMERS: [&str; 4] = ["abreast", "half-way", "far behind", "at the first tick"];

/// A cluster with extension `pgq`, whose transaction ids start at `epoch << 32`.
fn cluster(tree: Tree, epoch: u32) -> Cluster {
    let mut cluster = Cluster::builder_on(tree).set("synchronous_commit", "off").start();
    cluster.stop(Stop::Fast);
    let program = cluster.tree().bin().join("pg_resetwal");
    let status = cluster
        .run_as(program)
        .args(["-e", &epoch.to_string(), "-D"])
        .arg(cluster.data_dir())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    cluster.start();
    cluster
}

fn tick(client: &mut Client) {
    run(client, "select pgq.force_tick('q.\"1'); select pgq.ticker('q.\"1')");
}

fn insert(client: &mut Client, data: &str) {
    client.execute("select pgq.insert_event('q.\"1', 'test', $1)", &[&data]).unwrap();
}

/// Read everything a consumer gets: one text per batch.
fn drain(client: &mut Client, consumer: &str) -> Vec<String> {
    let mut batches = Vec::new();
    loop {
        let batch: Option<i64> =
            client.query_one("select pgq.next_batch('q.\"1', $1)", &[&consumer]).unwrap().get(0);
        let Some(batch) = batch else { return batches };
        batches.push(
            rows(
                client,
                &format!("select ev_id, ev_retry, ev_data from pgq.get_batch_events({batch})"),
            )
            .join(" "),
        );
        run(client, &format!("select pgq.finish_batch({batch})"));
    }
}

/// Everything that all consumers get, now and after another tick.
fn drain_all(client: &mut Client) -> BTreeMap<&'static str, Vec<String>> {
    let mut got: BTreeMap<_, _> =
        CONSUMERS.into_iter().map(|consumer| (consumer, drain(client, consumer))).collect();
    run(client, "select pgq.maint_retry_events()");
    tick(client);
    for consumer in CONSUMERS {
        got.get_mut(consumer).unwrap().push("then".to_owned());
        let more = drain(client, consumer);
        got.get_mut(consumer).unwrap().extend(more);
    }
    got
}

/// A database `app` with consumers at different places, a rotation behind it, transactions that
/// were open across ticks and the rotation, an open batch, events to retry, and events that no tick
/// covers.
fn populate(cluster: &Cluster) -> Client {
    run(&mut cluster.connect("postgres"), "create database app");
    let mut client = cluster.connect("app");
    run(
        &mut client,
        "create extension pgq; select pgq.create_queue('other'), pgq.create_queue('q.\"1')",
    );
    run(&mut client, "select pgq.drop_queue('other')");
    for consumer in CONSUMERS {
        client.execute("select pgq.register_consumer('q.\"1', $1)", &[&consumer]).unwrap();
    }
    let mut long = cluster.connect("app");
    let mut open = long.transaction().unwrap();
    open.execute("select pgq.insert_event('q.\"1', 'test', 'long')", &[]).unwrap();

    for n in 0..5 {
        insert(&mut client, &format!("early {n}"));
        tick(&mut client);
    }
    for consumer in &CONSUMERS[..3] {
        drain(&mut client, consumer);
    }
    // The rotation must not wait for the last consumer, so it is let forward and moved back.
    open.commit().unwrap();
    tick(&mut client);
    tick(&mut client);
    run(
        &mut client,
        "update pgq.subscription set sub_last_tick = (select max(tick_id) from pgq.tick)",
    );
    let mut across = long.transaction().unwrap();
    across.execute("select pgq.insert_event('q.\"1', 'test', 'across the switch')", &[]).unwrap();
    run(&mut client, "update pgq.queue set queue_switch_time = now() - interval '1 day'");
    run(&mut client, "select pgq.maint_rotate_tables_step1('q.\"1')");
    across.execute("select pgq.insert_event('q.\"1', 'test', 'after the switch')", &[]).unwrap();
    insert(&mut client, "in the new table");
    tick(&mut client);
    across.commit().unwrap();
    run(&mut client, "select pgq.maint_rotate_tables_step2()");
    tick(&mut client);
    run(
        &mut client,
        "select pgq.register_consumer_at('q.\"1', 'at the first tick', (select min(tick_id) from pgq.tick))",
    );

    for n in 0..4 {
        insert(&mut client, &format!("late {n}"));
        insert(&mut client, &format!("late {n} too"));
        tick(&mut client);
    }
    drain(&mut client, "abreast");
    drain(&mut client, "half-way");
    for n in 4..6 {
        insert(&mut client, &format!("late {n}"));
        tick(&mut client);
    }
    drain(&mut client, "abreast");
    // An open batch, one of whose events is to come again, and one that comes again already.
    let batch = row(&mut client, "select pgq.next_batch('q.\"1', 'half-way')");
    let event = row(&mut client, &format!("select min(ev_id) from pgq.get_batch_events({batch})"));
    run(
        &mut client,
        &format!("select pgq.event_retry({batch}, {event}, 0); select pgq.maint_retry_events()"),
    );
    run(&mut client, &format!("select pgq.event_retry({batch}, {event}, 0)"));
    insert(&mut client, "not ticked");
    insert(&mut client, "not ticked either");
    let state = "select queue_cur_table, (select count(*) from pgq.retry_queue), (select count(*) from pgq.event_2_0) > 3,
                        (select count(*) from pgq.event_2_1) > 10 from pgq.queue";
    assert_eq!(row(&mut client, state), "1|1|t|t");
    client
}

/// What a restored database must have in common with its original.
fn positions(client: &mut Client) -> Vec<String> {
    rows(
        client,
        "select consumer_name, last_tick, current_batch, next_tick, pending_events from pgq.get_consumer_info()
         union all select 'ticks', count(*), max(tick_id), min(tick_id), sum(tick_event_seq)
             from pgq.tick order by 1",
    )
}

enum Way {
    Plain,
    Custom,
}

fn copy(from: &Cluster, to: &Cluster, way: &Way) {
    run(&mut to.connect("postgres"), "create database app");
    let file = from.dir().join("dump");
    let path = file.to_str().unwrap();
    let succeeds = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    match way {
        Way::Plain => {
            succeeds(from.command("pg_dump").args(["-d", "app", "-f", path]));
            succeeds(to.command("psql").args([
                "-X",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                "app",
                "-f",
                path,
            ]));
        }
        Way::Custom => {
            succeeds(from.command("pg_dump").args(["-d", "app", "-Fc", "-f", path]));
            succeeds(to.command("pg_restore").args(["-d", "app", "--exit-on-error", path]));
        }
    }
}

/// New queue and consumers get ids that nobody has.
fn assert_ids_are_new(client: &mut Client) {
    run(client, "select pgq.create_queue('new')");
    run(
        client,
        "select pgq.register_consumer('new', 'new'), pgq.register_consumer('q.\"1', 'new')",
    );
    let clashes = "select count(*) from (select sub_id from pgq.subscription group by sub_id having count(*) > 1) x";
    assert_eq!(row(client, clashes), "0");
    assert_eq!(
        row(
            client,
            "select count(*) from pgq.event_template e where e.ev_owner >= (select max(sub_id) from pgq.subscription)"
        ),
        "0"
    );
}

fn smaller_ids(from: Tree, way: &Way) {
    let old = cluster(from, 3);
    let mut there = populate(&old);
    // Its events are in no dump.
    let mut unfinished = old.connect("app");
    run(&mut unfinished, "begin; select pgq.insert_event('q.\"1', 'test', 'never')");

    let new = cluster(Tree::Ours, 0);
    copy(&old, &new, way);
    run(&mut unfinished, "rollback");
    let mut here = new.connect("app");
    assert_eq!(positions(&mut here), positions(&mut there));

    // Nothing goes on before the ids are this cluster's, but events are taken.
    let invalid = outcome(&mut here, "select pgq.ticker('q.\"1')");
    assert!(invalid.starts_with("ERROR XX001: Invalid PgQ state: old xmin="), "{invalid}");
    let invalid = outcome(&mut here, "select pgq.next_batch('q.\"1', 'half-way')");
    assert!(invalid.starts_with("ERROR XX001: Invalid PgQ state: old xmin="), "{invalid}");
    for client in [&mut here, &mut there] {
        insert(client, "after the dump");
        run(
            client,
            "begin; savepoint s; select pgq.insert_event('q.\"1', 'test', 'in a savepoint'); release s; commit",
        );
    }
    let mut writer = new.connect("app");
    run(&mut writer, "begin; select pgq.insert_event('q.\"1', 'test', 'open across')");

    assert_eq!(row(&mut here, "select pgq.rebase()"), "1");
    assert_eq!(row(&mut here, "select pgq.rebase()"), "0");
    assert_eq!(positions(&mut here), positions(&mut there));
    run(&mut writer, "commit");
    insert(&mut there, "open across");

    let got = drain_all(&mut here);
    assert_eq!(got, drain_all(&mut there));
    let first = got[CONSUMERS[3]].join(" ");
    for data in [
        "across the switch",
        "after the switch",
        "not ticked either",
        "in a savepoint",
        "open across",
    ] {
        assert_eq!(first.matches(data).count(), 1, "{data} in {first}");
    }
    assert!(!first.contains("never"));
    assert_ids_are_new(&mut here);

    // Rotation goes on as well, through all tables.
    for turn in 0..4 {
        insert(&mut here, &format!("turn {turn}"));
        tick(&mut here);
        for consumer in CONSUMERS {
            assert_eq!(drain(&mut here, consumer).join(" ").matches("turn").count(), 1);
        }
        tick(&mut here);
        for consumer in CONSUMERS.into_iter().chain(["new"]) {
            drain(&mut here, consumer);
        }
        run(&mut here, "update pgq.queue set queue_switch_time = now() - interval '1 day'");
        run(&mut here, "select pgq.maint_rotate_tables_step1('q.\"1')");
        run(&mut here, "select pgq.maint_rotate_tables_step2()");
    }
    assert_eq!(
        row(&mut here, "select queue_cur_table from pgq.queue where queue_name = 'q.\"1'"),
        "2"
    );
}

#[test]
fn plain_dump_into_a_cluster_with_smaller_ids_goes_on_after_rebase() {
    smaller_ids(Tree::Ours, &Way::Plain);
}

#[test]
fn custom_dump_into_a_cluster_with_smaller_ids_goes_on_after_rebase() {
    smaller_ids(Tree::Ours, &Way::Custom);
}

#[test]
fn dump_of_pgq_3_5_goes_on_after_rebase() {
    smaller_ids(Tree::Peer, &Way::Custom);
}

#[test]
fn dump_into_a_cluster_with_larger_ids_just_goes_on() {
    let old = cluster(Tree::Ours, 0);
    let mut there = populate(&old);
    let new = cluster(Tree::Ours, 1);
    copy(&old, &new, &Way::Custom);
    let mut here = new.connect("app");
    assert_eq!(positions(&mut here), positions(&mut there));
    for client in [&mut here, &mut there] {
        insert(client, "after the dump");
    }
    assert_eq!(drain_all(&mut here), drain_all(&mut there));
    assert_ids_are_new(&mut here);
    assert_eq!(row(&mut here, "select pgq.rebase()"), "0");
}

#[test]
fn rebase_uses_up_ids_where_the_cluster_is_too_young_for_the_ticks() {
    let old = cluster(Tree::Ours, 1);
    run(&mut old.connect("postgres"), "create database app");
    let mut there = old.connect("app");
    run(&mut there, "create extension pgq; select pgq.create_queue('q.\"1')");
    for consumer in CONSUMERS {
        there.execute("select pgq.register_consumer('q.\"1', $1)", &[&consumer]).unwrap();
    }
    run(
        &mut there,
        "update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'",
    );
    run(
        &mut there,
        "do $$ begin
             for i in 1 .. 1500 loop
                 perform pgq.insert_event('q.\"1', 'test', i::text);
                 commit;
                 perform pgq.ticker();
                 commit;
             end loop;
         end; $$",
    );
    let new = cluster(Tree::Ours, 0);
    copy(&old, &new, &Way::Plain);
    let mut here = new.connect("app");
    assert_eq!(row(&mut here, "select pg_catalog.txid_current() < 1500"), "t");
    assert_eq!(row(&mut here, "select pgq.rebase()"), "1");
    assert_eq!(positions(&mut here), positions(&mut there));
    let got = drain(&mut here, CONSUMERS[0]);
    assert_eq!(got.len(), 1500);
    assert_eq!(got, drain(&mut there, CONSUMERS[0]));
}

#[test]
fn restored_backlog_is_divided_as_any_other() {
    let old = cluster(Tree::Ours, 1);
    run(&mut old.connect("postgres"), "create database app");
    let mut there = old.connect("app");
    run(&mut there, "create extension pgq; select pgq.create_queue('q.\"1')");
    there.execute("select pgq.register_consumer('q.\"1', $1)", &[&CONSUMERS[0]]).unwrap();
    run(&mut there, "select pgq.set_queue_config('q.\"1', 'batch_max_count', '10')");
    tick(&mut there);
    for n in 0..30 {
        let size = 1 + n % 4;
        run(
            &mut there,
            &format!(
                "select pgq.insert_event('q.\"1', 'test', '{n}') from generate_series(1, {size})"
            ),
        );
    }
    let new = cluster(Tree::Ours, 0);
    copy(&old, &new, &Way::Plain);
    let mut here = new.connect("app");
    assert_eq!(row(&mut here, "select pgq.rebase()"), "1");
    tick(&mut here);
    let batches = drain(&mut here, CONSUMERS[0]);
    let sizes: Vec<_> = batches.iter().map(|batch| batch.split_whitespace().count()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 73, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
    assert!(sizes.iter().filter(|size| **size > 0).count() >= 8, "{sizes:?}");
}

/// Updates of a table without a key are forbidden where they are published.
#[test]
fn a_database_with_a_publication_of_all_tables_is_rebased() {
    let old = cluster(Tree::Ours, 3);
    let mut there = populate(&old);
    run(&mut there, "create publication everything for all tables");
    let new = cluster(Tree::Ours, 0);
    copy(&old, &new, &Way::Plain);
    let mut here = new.connect("app");
    // One table of the queue has been told what to do with updates.
    run(&mut here, "alter table pgq.event_2_1 replica identity nothing");
    assert_eq!(row(&mut here, "select pgq.rebase()"), "1");
    assert_eq!(positions(&mut here), positions(&mut there));
    assert_eq!(drain_all(&mut here), drain_all(&mut there));
    let identities =
        "select string_agg(distinct relreplident, ',' order by relreplident) from pg_class
                       where relnamespace = 'pgq'::regnamespace and relkind = 'r'";
    assert_eq!(row(&mut here, identities), "d,n");
}

/// Restore a dump of one scratch database into another, with options of pg_dump.
fn copy_partly(from: &Scratch, options: &[&str]) -> (Scratch, Client) {
    let to = scratch_database_on(Tree::Ours);
    let file = from.cluster().dir().join(format!("{}.sql", to.name()));
    let path = file.to_str().unwrap();
    let dumped = from
        .cluster()
        .command("pg_dump")
        .args(options)
        .args(["-d", from.name(), "-f", path])
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let restored = to
        .cluster()
        .command("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to.name(), "-f", path])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let client = to.connect();
    (to, client)
}

fn one_event(client: &mut Client, queue: &str, data: &str) -> String {
    run(client, &format!("select pgq.insert_event('{queue}', 't', '{data}')"));
    run(client, &format!("select pgq.force_tick('{queue}')"));
    run(client, &format!("select pgq.ticker('{queue}')"));
    let mut found = Vec::new();
    loop {
        let batch = row(client, &format!("select pgq.next_batch('{queue}', 'c')"));
        if batch == "∅" {
            return found.join(" ");
        }
        found.extend(rows(client, &format!("select ev_data from pgq.get_batch_events({batch})")));
        run(client, &format!("select pgq.finish_batch({batch})"));
    }
}

#[test]
fn queues_can_be_created_where_a_dump_has_left_tables_of_others() {
    let from = scratch_database();
    let mut there = from.connect();
    run(&mut there, "select pgq.create_queue('orders'), pgq.create_queue('b')");
    for options in [&["-s"][..], &["--exclude-table-data=pgq.*"]] {
        let (_to, mut here) = copy_partly(&from, options);
        for queue in ["orders", "b", "c"] {
            let made = format!(
                "select pgq.create_queue('{queue}'), pgq.register_consumer('{queue}', 'c')"
            );
            assert_eq!(outcome(&mut here, &made), "1|1", "{options:?}");
            assert_eq!(one_event(&mut here, queue, "first"), "first");
        }
        run(&mut here, "select pgq.unregister_consumer('b', 'c'), pgq.drop_queue('b')");
    }
}

#[test]
fn queues_go_on_where_a_dump_lacks_their_events_and_sequences() {
    let from = scratch_database();
    let mut there = from.connect();
    run(&mut there, "select pgq.create_queue('q'), pgq.register_consumer('q', 'c')");
    for n in 0..4 {
        one_event(&mut there, "q", &n.to_string());
    }
    let (_to, mut here) = copy_partly(&from, &["--exclude-table-data=pgq.event_*"]);
    run(&mut here, "select pgq.rebase()");
    assert_eq!(one_event(&mut here, "q", "new"), "new");
    let newest = "select max(tick_id), max(tick_event_seq) from pgq.tick";
    let in_order = "select bool_and(tick_event_seq >= before) from
                    (select tick_event_seq,
                            lag(tick_event_seq, 1, 0) over (order by tick_id) as before
                       from pgq.tick) t";
    assert_eq!(row(&mut here, in_order), "t");
    assert_ne!(row(&mut here, newest), row(&mut there, newest));
}
