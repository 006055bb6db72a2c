//! Tables that are attached while they change: copied, followed, handed over.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::set::{Driver, Set};

by_both! {
    tables_with_foreign_keys_and_odd_names_are_copied_and_followed,
    keys_are_dropped_for_a_copy_without_the_workers_row,
    keys_of_a_table_that_another_has_copied_meanwhile_stay,
    an_event_that_cannot_be_applied_is_named_and_waits_for_a_hand,
    a_table_is_copied_from_what_it_is_called_at_the_provider,
}

const TABLES: &str = r#"
create table customer (id int primary key, name text, note bytea);
create table purchase (id int primary key, customer int references customer, amount numeric(12, 2));
create schema "Odd";
create table "Odd"."Na me" (a int, b text, "c d" timestamptz, e int[], primary key (a, b));
"#;
const ALL: [&str; 3] = [
    "select * from customer order by id",
    "select * from purchase order by id",
    r#"select * from "Odd"."Na me" order by a, b"#,
];

fn tables_with_foreign_keys_and_odd_names_are_copied_and_followed(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let mut root = set.connect("root");
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), TABLES);
    }
    // What is there before the copy on the leaf goes away.
    run(&mut set.connect("leaf"), "insert into customer values (77, 'of another time', null)");
    run(
        &mut root,
        r#"insert into customer select n, 'c ' || n, '\x00ff'::bytea from generate_series(1, 500) n;
           insert into purchase select n, n % 500 + 1, n / 3.0 from generate_series(1, 800) n;
           insert into "Odd"."Na me"
           select n, E'it''s \\ ' || n, now(), array[n, null] from generate_series(1, 50) n"#,
    );
    let tables = ["public.customer", "public.purchase", "Odd.Na me"];
    for table in tables {
        set.attach("root", table, "");
    }
    for table in tables {
        set.attach("leaf", table, "");
    }
    let _root_worker = set.start("root", None);
    let mut leaf_worker = set.start("leaf", None);
    run(
        &mut root,
        r#"update customer set name = null where id % 7 = 0;
           delete from purchase where id % 5 = 0;
           update "Odd"."Na me" set e = '{}', "c d" = null where a < 9;
           insert into customer values (1001, 'later', '')"#,
    );
    set.await_sync("root", "leaf");
    for sql in ALL {
        set.assert_same("root", "leaf", sql);
    }
    // Foreign keys are back, and nothing of the copy is left.
    const KEYS: &str = "select count(*) from pg_constraint where conrelid = 'purchase'::regclass and contype = 'f' and convalidated";
    set.await_answer("root", "leaf", KEYS, "1");
    set.await_answer("root", "leaf", "select count(*) from londiste.pending_fkeys", "0");
    const COPIERS: &str =
        "select count(*) from pgq_node.get_consumer_info('q') where consumer_name like '%copy%'";
    set.await_answer("root", "leaf", COPIERS, "0");
    let copiers =
        "select count(*) from pgq.get_consumer_info('q') where consumer_name like '%copy%'";
    assert_eq!(row(&mut root, copiers), "0");

    // A row that comes and goes, a change of nothing, and of all.
    run(
        &mut root,
        r#"insert into purchase values (2000, 1001, 1); delete from purchase where id = 2000;
           update customer set name = name where id = 1;
           truncate "Odd"."Na me"; insert into "Odd"."Na me" values (1, 'x', now(), null)"#,
    );
    set.await_sync("root", "leaf");
    for sql in ALL {
        set.assert_same("root", "leaf", sql);
    }

    // Copied anew, also after the worker was gone.
    let mut leaf = set.connect("leaf");
    run(&mut leaf, "set session_replication_role = replica; delete from customer where id > 400");
    leaf_worker.kill();
    let resync = "select londiste.local_set_table_state('q', 'public.customer', null, null)";
    run(&mut set.connect("leaf"), resync);
    let _leaf_worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    for sql in ALL {
        set.assert_same("root", "leaf", sql);
    }
}

/// Whoever pauses the worker, or moves it, waits for nobody who uses a table.
fn keys_are_dropped_for_a_copy_without_the_workers_row(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table t (id int primary key);
             create table own (id int primary key, t int references t)",
        );
    }
    run(&mut set.connect("root"), "insert into t values (1)");
    for name in ["root", "leaf"] {
        set.attach(name, "public.own", "expect_sync");
        set.attach(name, "public.t", "");
    }
    let (mut holder, mut leaf) = (set.connect("leaf"), set.connect("leaf"));
    run(&mut holder, "begin; lock table own in access share mode");
    let _worker = set.start("leaf", None);
    const WAITS: &str =
        "select count(*) from pg_locks where relation = 'own'::regclass and not granted";
    set.await_answer("root", "leaf", WAITS, "1");
    const ROW: &str = "select consumer_name from pgq_node.local_state
                        where consumer_name = 'leaf_worker' for update nowait";
    assert_eq!(outcome(&mut leaf, ROW), "leaf_worker");
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    const KEYS: &str = "select count(*) from pg_constraint
                         where conrelid = 'own'::regclass and contype = 'f' and convalidated";
    set.await_answer("root", "leaf", KEYS, "1");
    set.assert_same("root", "leaf", "select * from t");
}

/// A worker that has waited for the table finds that another has copied it, and leaves its keys.
fn keys_of_a_table_that_another_has_copied_meanwhile_stay(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table t (id int primary key);
             create table own (id int primary key, t int references t)",
        );
        set.attach(name, "public.own", "expect_sync");
        set.attach(name, "public.t", "");
    }
    let (mut holder, mut leaf) = (set.connect("leaf"), set.connect("leaf"));
    const KEY: &str =
        "select oid from pg_constraint where conrelid = 'own'::regclass and contype = 'f'";
    let key = row(&mut leaf, KEY);
    run(&mut holder, "begin; lock table own in access share mode");
    let _worker = set.start("leaf", None);
    const WAITS: &str =
        "select count(*) from pg_locks where relation = 'own'::regclass and not granted";
    set.await_answer("root", "leaf", WAITS, "1");
    const OTHER: &str = "select ret_code
                           from londiste.local_set_table_state('q', 'public.t', null, 'ok')";
    assert_eq!(row(&mut leaf, OTHER), "200");
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    // Dropped and restored it would be another one.
    assert_eq!(row(&mut leaf, KEY), key);
}

fn an_event_that_cannot_be_applied_is_named_and_waits_for_a_hand(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
        set.attach(name, "public.t", "expect_sync");
    }
    let mut root = set.connect("root");
    // Whoever is no worker has to say so, to write where changes are not allowed.
    let mut leaf = set.connect("leaf");
    run(&mut leaf, "set session_replication_role = replica");
    run(&mut leaf, "insert into t values (2, 'in the way')");
    run(&mut root, "insert into t values (1, 'a'); insert into t values (2, 'b')");
    let event =
        row(&mut root, "select max(ev_id) from pgq.event_template where ev_extra1 = 'public.t'");
    let _worker = set.start("leaf", None);
    let error = format!(
        "select cur_error like 'event {event}, table \"public.t\": %duplicate key%' from pgq_node.local_state"
    );
    set.await_answer("root", "leaf", &error, "t");
    assert_eq!(row(&mut set.connect("leaf"), "select count(*) from t where id = 1"), "0");
    run(&mut leaf, "delete from t");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    let error = "select cur_error from pgq_node.local_state";
    set.await_answer("root", "leaf", error, "∅");

    // An event has the new key alone, so there is none that changes a key.
    let said = outcome(&mut root, "update t set id = 9 where id = 1");
    assert_eq!(said, "ERROR 55000: primary key update not allowed");
}

fn a_table_is_copied_from_what_it_is_called_at_the_provider(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    // One that has the queue's name, and is another table, is there too.
    run(
        &mut root,
        "create table t (id int primary key, v text); insert into t values (1, 'of another');
         create table there (id int primary key, v text); insert into there values (1, 'ours')",
    );
    run(&mut leaf, "create table here (id int primary key, v text)");
    let add = |dest| {
        format!(
            "select ret_code from londiste.local_add_table('q', 'public.t', '{{}}', null, '{dest}')"
        )
    };
    assert_eq!(row(&mut root, &add("public.there")), "200");
    run(&mut leaf, "select londiste.global_add_table('q', 'public.t')");
    assert_eq!(row(&mut leaf, &add("public.here")), "200");
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    run(&mut root, "insert into there values (2, 'later')");
    set.await_sync("root", "leaf");
    let rows = "select string_agg(id || v, ',' order by id) from";
    assert_eq!(row(&mut leaf, &format!("{rows} here")), row(&mut root, &format!("{rows} there")));
}

#[test]
fn a_copy_waits_for_scripts_that_the_provider_has_run() {
    let set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, n int)");
        set.attach(name, "public.t", "");
    }
    let mut root = set.connect("root");
    run(&mut root, "insert into t select n, n from generate_series(1, 10) n");
    set.execute(
        "root",
        "column.sql",
        "select pg_advisory_xact_lock(4711);\nalter table t add added text;\n\
         update t set added = 'by the script, ' || n, n = n + 1;\n",
    );
    run(&mut root, "update t set added = 'later' where id = 1");
    // The leaf's worker cannot go past the script.
    let mut holder = set.connect("leaf");
    run(&mut holder, "select pg_advisory_lock(4711)");
    let _worker = set.start("leaf", None);
    let waits = || set.said("leaf").contains("waits for the worker");
    assert!(wait_until(PATIENCE, waits), "{}", set.said("leaf"));
    run(&mut holder, "select pg_advisory_unlock(4711)");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select id, n, added from t order by id");
}

/// A tick that is laid while a script runs has the transaction alone in its snapshot, and not the
/// savepoint that the script runs in.
#[test]
fn a_copy_waits_for_a_script_that_ran_in_a_savepoint() {
    let set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, n int)");
        set.attach(name, "public.t", "");
    }
    let (mut root, mut other) = (set.connect("root"), set.connect("root"));
    run(&mut root, "insert into t select n, n from generate_series(1, 10) n");
    // The leaf's worker cannot go past the script.
    const SCRIPT: &str = "select pg_advisory_xact_lock(4711); update t set n = n + 1";
    let mut holder = set.connect("leaf");
    run(&mut holder, "select pg_advisory_lock(4711)");
    run(
        &mut root,
        &format!(
            "begin; savepoint s;
             select londiste.execute_start('q', 'more.sql', '{SCRIPT}', true);
             set local session_replication_role = local; {SCRIPT};
             set local session_replication_role = origin;
             select londiste.execute_finish('q', 'more.sql'); release s"
        ),
    );
    run(&mut other, "select pgq.force_tick('q')");
    let before = row(&mut other, "select pgq.ticker('q')");
    run(&mut root, "commit");
    let _worker = set.start("leaf", None);
    const WAITS: &str = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                          where datname = current_database()
                            and locktype = 'advisory' and not granted";
    set.await_answer("root", "leaf", WAITS, "1");
    let mut leaf = set.connect("leaf");
    let completed =
        format!("select completed_tick >= {before} from pgq_node.get_worker_state('q')");
    assert_eq!(row(&mut leaf, &completed), "t");
    // The copier looks at that several times.
    for _ in 0..5 {
        let now = row(&mut leaf, "select clock_timestamp()");
        let looked = format!(
            "select count(*) > 0 from pg_stat_activity
              where datname = current_database()
                and application_name like '%.copy.%' and query_start > '{now}'"
        );
        assert!(wait_until(PATIENCE, || row(&mut leaf, &looked) == "t"), "{}", set.said("leaf"));
    }
    assert_eq!(row(&mut leaf, "select merge_state from londiste.table_info"), "in-copy");
    run(&mut holder, "select pg_advisory_unlock(4711)");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select id, n from t order by id");
}

/// A root and a leaf with table `t`, whose copy has been interrupted after its rows were committed.
fn interrupted() -> Set {
    let set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
        set.attach(name, "public.t", "");
    }
    run(&mut set.connect("root"), "insert into t select n, 'n' from generate_series(1, 100) n");
    let mut worker = set.start("leaf", Some("copy.committed=kill"));
    assert!(wait_until(PATIENCE, || worker.is_dead()), "{}", set.said("leaf"));
    set
}

const COPIER: &str = "leaf_worker.copy.public.t";

#[test]
fn a_copy_whose_place_at_the_provider_is_gone_begins_anew() {
    let set = interrupted();
    let mut root = set.connect("root");
    run(
        &mut root,
        &format!(
            "select pgq.unregister_consumer('q', '{COPIER}');
             insert into t values (1000, 'which nobody keeps')"
        ),
    );
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert!(set.said("leaf").contains("the copy begins anew"), "{}", set.said("leaf"));
}

/// While it waited for a lock, another process has gone on: what the provider has said before is no
/// reason to copy all rows again.
#[test]
fn a_copy_that_another_process_has_taken_on_goes_on_from_there() {
    let set = interrupted();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    for _ in 0..3 {
        run(&mut root, "select pgq.force_tick('q'); select pgq.ticker('q')");
    }
    run(
        &mut leaf,
        &format!(
            "begin; select from pgq_node.local_state where consumer_name = '{COPIER}' for update"
        ),
    );
    let _worker = set.start("leaf", None);
    let mut look = set.connect("leaf");
    const WAITS: &str = "select count(*) from pg_stat_activity a join pg_locks l on l.pid = a.pid
                          where a.datname = current_database()
                            and a.application_name like '%.copy.%' and not l.granted";
    assert!(wait_until(PATIENCE, || row(&mut look, WAITS) != "0"), "{}", set.said("leaf"));
    // There is nothing of the table in these batches.
    let batch = format!("select current_batch from pgq.get_consumer_info('q', '{COPIER}')");
    let batch = row(&mut root, &batch);
    run(&mut root, &format!("select pgq.finish_batch({batch})"));
    let batch = row(&mut root, &format!("select pgq.next_batch('q', '{COPIER}')"));
    run(&mut root, &format!("select pgq.finish_batch({batch})"));
    let tick =
        row(&mut root, &format!("select last_tick from pgq.get_consumer_info('q', '{COPIER}')"));
    run(
        &mut leaf,
        &format!(
            "update pgq_node.local_state set last_tick_id = {tick}
              where consumer_name = '{COPIER}'; commit"
        ),
    );
    run(&mut root, "insert into t values (1000, 'later')");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert!(!set.said("leaf").contains("begins anew"), "{}", set.said("leaf"));
}

#[test]
fn a_copy_moves_to_the_new_provider_and_leaves_nothing_at_the_old_one() {
    let set = Set::new(&[("root", Tree::Ours), ("branch", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "branch", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
    }
    let (mut root, mut branch, mut leaf) =
        (set.connect("root"), set.connect("branch"), set.connect("leaf"));
    run(&mut root, "insert into t select n, 'n' from generate_series(1, 100) n");
    for name in ["root", "branch", "leaf"] {
        set.attach(name, "public.t", "");
    }
    let _branch_worker = set.start("branch", None);
    set.await_sync("root", "branch");
    // One that fails again and again.
    run(&mut leaf, "alter table t add constraint never check (v <> 'n')");
    let _worker = set.start("leaf", None);
    const COPIERS: &str =
        "select count(*) from pgq.get_consumer_info('q') where consumer_name like '%.copy.%'";
    set.await_answer("root", "root", COPIERS, "1");
    let failed = || set.said("leaf").contains("check constraint \"never\"");
    assert!(wait_until(PATIENCE, failed), "{}", set.said("leaf"));

    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', true)");
    let uptodate = "select worker_uptodate from pgq_node.get_node_info('q')";
    set.await_answer("root", "leaf", uptodate, "t");
    let position = row(&mut leaf, "select worker_last_tick from pgq_node.get_node_info('q')");
    run(
        &mut branch,
        &format!("select pgq_node.register_subscriber('q', 'leaf', 'leaf_worker', {position})"),
    );
    run(&mut leaf, "select pgq_node.change_consumer_provider('q', 'leaf_worker', 'branch')");
    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', false)");
    run(&mut root, "select pgq_node.unregister_subscriber('q', 'leaf')");
    run(&mut root, "insert into t values (1000, 'after the change')");
    set.await_answer("root", "branch", COPIERS, "1");
    run(&mut leaf, "alter table t drop constraint never");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    for name in ["root", "branch"] {
        set.await_answer("root", name, COPIERS, "0");
    }
}

#[test]
fn a_copy_whose_rows_are_to_stay_does_not_begin_anew() {
    let set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
    }
    run(&mut root, "insert into t values (1, 'a')");
    run(&mut leaf, "insert into t values (2, 'the leaf''s own')");
    set.attach("root", "public.t", "");
    set.attach("leaf", "public.t", "skip_truncate");
    let mut worker = set.start("leaf", Some("copy.committed=kill"));
    assert!(wait_until(PATIENCE, || worker.is_dead()), "{}", set.said("leaf"));
    run(&mut leaf, "select pgq_node.unregister_consumer('q', 'leaf_worker.copy.public.t')");
    let _worker = set.start("leaf", None);
    let refused = || set.said("leaf").contains("skip_truncate keeps the rows");
    assert!(wait_until(PATIENCE, refused), "{}", set.said("leaf"));
    run(
        &mut leaf,
        "set session_replication_role = replica; delete from t where id = 1;
         select londiste.local_set_table_state('q', 'public.t', null, null)",
    );
    set.await_sync("root", "leaf");
    assert_eq!(row(&mut leaf, "select string_agg(v, ',' order by id) from t"), "a,the leaf's own");
}
