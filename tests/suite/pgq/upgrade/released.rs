//! ALTER EXTENSION pgq UPDATE from upstream's PgQ 3.5: the catalogs of a fresh installation, and
//! queues that go on.

use std::fs;
use std::process::Command;

use pgq_tests::{Scratch, Tree, scratch_database, scratch_database_on};
use postgres::Client;

use pgq_tests::query::{outcome, row, rows, run};

/// Everything the catalogs say of the extension's objects, in an order that does not depend on when
/// they were made.
const CATALOGS: &str = include_str!("catalogs.sql");

/// Path below the installation prefix, asked from the tree's own pg_config.
fn directory(tree: Tree, option: &str) -> String {
    let output = Command::new(tree.bin().join("pg_config")).arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Version of upstream's PgQ in its tree: 3.5 in Debian 12, 3.5.1 later.
pub(crate) fn upstream_version() -> String {
    let control = format!("{}/extension/pgq.control", directory(Tree::Peer, "--sharedir"));
    let text = fs::read_to_string(control).unwrap();
    let line = text.lines().find(|line| line.starts_with("default_version")).unwrap();
    line.split('\'').nth(1).unwrap().to_owned()
}

/// Make upstream's version available in our tree. Its functions stay in upstream's own libraries.
fn offer_upstream() {
    let name = format!("extension/pgq--{}.sql", upstream_version());
    let script = format!("{}/{name}", directory(Tree::Peer, "--sharedir"));
    let libraries = directory(Tree::Peer, "--pkglibdir");
    let script =
        fs::read_to_string(script).unwrap().replace("'$libdir/", &format!("'{libraries}/"));
    let place = format!("{}/{name}", directory(Tree::Ours, "--sharedir"));
    // Tests of other processes may be reading the old file.
    let fresh = format!("{place}.{}", std::process::id());
    fs::write(&fresh, script).unwrap();
    fs::rename(fresh, place).unwrap();
}

/// Upstream's 3.5 in a database of our tree. The server has PgQ's roles already: upstream's script
/// fails when two sessions create them.
pub(crate) fn create_upstream(client: &mut Client) {
    offer_upstream();
    run(client, &format!("create extension pgq version '{}'", upstream_version()));
    assert_eq!(row(client, "select pgq.version()"), upstream_version());
}

/// 4.0, which had no messages, in a database of our tree.
fn database_of_4_0() -> (Scratch, Client) {
    let script = include_str!("../../../fixtures/pgq--4.0.sql");
    let place = format!("{}/extension/pgq--4.0.sql", directory(Tree::Ours, "--sharedir"));
    let fresh = format!("{place}.{}", std::process::id());
    fs::write(&fresh, script).unwrap();
    fs::rename(fresh, place).unwrap();
    drop(scratch_database());
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(&mut client, "create extension pgq version '4.0'");
    (database, client)
}

/// Swap the libraries under upstream's SQL, as `make install` does: it finds its C functions in
/// ours, by upstream's names for them.
pub(crate) fn swap_libraries(client: &mut Client) {
    let swapped = client
        .execute(
            "update pg_proc set probin = '$libdir/' || (regexp_match(probin, '(pgq_lowlevel|pgq_triggers)$'))[1]
              where pronamespace = 'pgq'::regnamespace and probin ~ '(pgq_lowlevel|pgq_triggers)$'",
            &[],
        )
        .unwrap();
    assert_eq!(swapped, 4);
}

/// A database of our tree with upstream's 3.5 in it.
pub(crate) fn upstream_database() -> (Scratch, Client) {
    drop(scratch_database());
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    create_upstream(&mut client);
    (database, client)
}

#[test]
fn updated_catalogs_equal_those_of_a_fresh_installation() {
    let (_database, mut client) = upstream_database();
    assert_updates_to_a_fresh_installation(&mut client);
    let (_database, mut client) = database_of_4_0();
    assert_updates_to_a_fresh_installation(&mut client);
}

fn assert_updates_to_a_fresh_installation(client: &mut Client) {
    run(client, "alter extension pgq update");
    let updated = rows(client, CATALOGS);
    let fresh = scratch_database();
    let installed = rows(&mut fresh.connect(), CATALOGS);
    for line in &updated {
        assert!(installed.contains(line), "only after an update: {line}");
    }
    for line in &installed {
        assert!(updated.contains(line), "only in a fresh installation: {line}");
    }
    assert!(installed.len() > 300, "the query saw {} facts only", installed.len());
}

#[test]
fn every_upgrade_path_exists() {
    let database = scratch_database();
    let paths = rows(
        &mut database.connect(),
        "select source from pg_extension_update_paths('pgq') where target = '4.1' and path = source || '--4.1' order by 1",
    );
    assert_eq!(
        paths,
        ["3.2", "3.2.3", "3.2.6", "3.3.1", "3.4", "3.4.1", "3.4.2", "3.5", "3.5.1", "3.5.2", "4.0"]
    );
}

fn data(client: &mut Client, batch: &str) -> Vec<String> {
    rows(
        client,
        &format!(
            "select coalesce(ev_retry, 0), ev_type, ev_data from pgq.get_batch_events({batch})"
        ),
    )
}

#[test]
fn queues_go_on_after_the_update() {
    let (database, mut client) = upstream_database();
    run(
        &mut client,
        "create table t (id int primary key, v text);
         select pgq.create_queue('q'), pgq.create_queue('empty');
         create trigger log after insert or update or delete on t for each row
             execute function pgq.logutriga('q');
         update pgq.queue set queue_ticker_max_lag = '0', queue_ticker_idle_period = '0';
         select pgq.register_consumer('q', 'open'), pgq.register_consumer('q', 'behind'),
             pgq.register_consumer('q', 'done')",
    );
    run(&mut client, "insert into t values (1, 'one'), (2, 'two')");
    run(&mut client, "select pgq.ticker()");
    let open = row(&mut client, "select pgq.next_batch('q', 'open')");
    let done = row(&mut client, "select pgq.next_batch('q', 'done')");
    run(&mut client, &format!("select pgq.event_retry({done}, 2, 0), pgq.finish_batch({done})"));
    run(&mut client, "update t set v = 'first' where id = 1");
    run(&mut client, "select pgq.ticker()");
    run(&mut client, "delete from t where id = 2");

    // A session with the old functions in its caches, a transaction with old events open across the
    // update.
    let mut session = database.connect();
    run(&mut session, "insert into t values (3, 'three')");
    let mut writer = database.connect();
    let before = rows(
        &mut client,
        "select * from pgq.tick union all select null, sub_last_tick, null, null, sub_batch from pgq.subscription",
    );

    run(&mut client, "alter extension pgq update");
    assert_eq!(row(&mut client, "select pgq.version()"), "4.1");
    assert_eq!(row(&mut client, "select distinct queue_batch_max_count from pgq.queue"), "10000");
    let after = rows(
        &mut client,
        "select * from pgq.tick union all select null, sub_last_tick, null, null, sub_batch from pgq.subscription",
    );
    assert_eq!(before, after);

    run(&mut session, "insert into t values (4, 'four')");
    run(&mut writer, "insert into t values (5, 'five')");
    assert_eq!(row(&mut client, "select pgq.maint_retry_events()"), "1");
    run(&mut client, "select pgq.ticker()");

    let both = ["0|I:id|id=1&v=one", "0|I:id|id=2&v=two"];
    let update = ["0|U:id|id=1&v=first"];
    let rest =
        ["0|D:id|id=2&v=two", "0|I:id|id=3&v=three", "0|I:id|id=4&v=four", "0|I:id|id=5&v=five"];
    assert_eq!(row(&mut client, "select pgq.next_batch('q', 'open')"), open);
    assert_eq!(data(&mut client, &open), both);
    run(&mut client, &format!("select pgq.finish_batch({open})"));
    let retried = ["1|I:id|id=2&v=two", rest[0], rest[1], rest[2], rest[3]];
    let expected: [(&str, Vec<&[&str]>); 3] = [
        ("open", vec![&update, &rest]),
        ("behind", vec![&both, &update, &rest]),
        ("done", vec![&update, &retried]),
    ];
    for (consumer, batches) in expected {
        for events in batches {
            let batch = row(&mut client, &format!("select pgq.next_batch('q', '{consumer}')"));
            assert_eq!(data(&mut client, &batch), events, "{consumer}");
            run(&mut client, &format!("select pgq.finish_batch({batch})"));
        }
        assert_eq!(row(&mut client, &format!("select pgq.next_batch('q', '{consumer}')")), "∅");
    }
    run(&mut client, "select pgq.drop_queue('q', true), pgq.drop_queue('empty')");
    run(&mut client, "drop table t; drop extension pgq");
}

#[test]
fn the_sql_of_4_0_is_served_before_the_update() {
    let (_database, mut client) = database_of_4_0();
    run(
        &mut client,
        "select pgq.create_queue('q'), pgq.register_consumer('q', 'c');
         select pgq.insert_event('q', 't', '0')",
    );
    run(&mut client, "select pgq.force_tick('q')");
    run(&mut client, "select pgq.ticker('q')");
    let batch = row(&mut client, "call pgq.wait_batch('q', 'c', '0')");
    assert_eq!(data(&mut client, &batch), ["0|t|0"]);
    run(&mut client, &format!("select pgq.event_retry({batch}, 1, 0)"));
    assert_eq!(row(&mut client, &format!("select pgq.finish_batch({batch})")), "1");
    // It has no table of pages, in which a batch could be that is not open.
    let missing = "select * from pgq.get_batch_events(77)";
    let expected = outcome(&mut scratch_database().connect(), missing);
    assert!(expected.starts_with("ERROR 42704: "), "{expected}");
    assert_eq!(outcome(&mut client, missing), expected);
}

#[test]
fn a_batch_of_4_0_is_received_in_pages_after_the_update() {
    let (_database, mut client) = database_of_4_0();
    run(
        &mut client,
        "select pgq.create_queue('q'), pgq.register_consumer('q', 'c');
         select pgq.insert_events('q', array['t', 't', 't'], array['0', '1', '2'])",
    );
    run(&mut client, "select pgq.ticker('q')");
    run(&mut client, "select pgq.force_tick('q')");
    run(&mut client, "select pgq.ticker('q')");
    run(&mut client, "select pgq.next_batch('q', 'c')");
    run(&mut client, "alter extension pgq update");
    let page = "select batch_id, payload from pgq.receive('q', 'c', 2)";
    assert_eq!(rows(&mut client, page), ["3|0", "3|1"]);
    run(&mut client, "select pgq.ack(3, 2)");
    assert_eq!(row(&mut client, "select payload from pgq.receive('q', 'c')"), "2");
}
