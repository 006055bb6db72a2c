//! Several workers of a node, and the signals that a worker gets.

use pgq_tests::query::{row, run};
use pgq_tests::{PATIENCE, Random, Tree, wait_until};

use super::set::Set;

/// What a worker of queue `q` holds.
const LOCK: &str = "select pg_advisory_lock(hashtextextended('q', 7371))";

/// A root and a leaf with table `t`, which is to be copied.
fn set() -> Set {
    let set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
    }
    run(&mut set.connect("root"), "insert into t select n, 'n' from generate_series(1, 100) n");
    for name in ["root", "leaf"] {
        set.attach(name, "public.t", "");
    }
    set
}

#[test]
fn a_second_worker_waits_until_the_first_ends() {
    let set = set();
    let mut first = set.start("leaf", None);
    set.await_sync("root", "leaf");
    let _second = set.start("leaf", None);
    assert!(
        wait_until(PATIENCE, || set.said("leaf").contains("waits for another worker of queue")),
        "{}",
        set.said("leaf")
    );
    first.kill();
    run(&mut set.connect("root"), "insert into t values (1000, 'by the second')");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    let said = set.said("leaf");
    assert!(said.contains("the other worker has ended"), "{said}");
    assert!(!said.contains("works without a lock"), "{said}");
}

#[test]
fn a_worker_without_the_lock_gets_it_when_it_is_free() {
    let set = set();
    let nobody = set.role("leaf", "nobody");
    let mut attacker = set.connect_as("leaf", &nobody);
    run(&mut attacker, LOCK);
    let _first = set.start("leaf", None);
    let without = || set.said("leaf").contains("works without a lock");
    assert!(wait_until(PATIENCE, without), "{}", set.said("leaf"));
    drop(attacker);
    assert!(
        wait_until(PATIENCE, || set.said("leaf").contains("has the lock now")),
        "{}",
        set.said("leaf")
    );
    let _second = set.start("leaf", None);
    assert!(
        wait_until(PATIENCE, || set.said("leaf").contains("waits for another worker of queue")),
        "{}",
        set.said("leaf")
    );
    set.await_sync("root", "leaf");
}

/// Whoever may merely connect takes the lock: then both work, and locks of rows keep them apart.
#[test]
fn workers_that_work_at_once_lose_and_repeat_nothing() {
    let mut random = Random::for_test("two_workers");
    let set = set();
    let nobody = set.role("leaf", "nobody");
    let mut attacker = set.connect_as("leaf", &nobody);
    run(&mut attacker, LOCK);
    let _workers = [set.start("leaf", None), set.start("leaf", None), set.start("leaf", None)];
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(&mut root, "create table log (id bigserial primary key, v text)");
    run(&mut leaf, "create table log (id bigserial primary key, v text)");
    for name in ["root", "leaf"] {
        set.attach(name, "public.log", "");
    }
    for round in 0..300 {
        let id = random.below(150);
        run(
            &mut root,
            &format!(
                "insert into log (v) values ('{round}');
                 insert into t values ({id}, '{round}')
                     on conflict (id) do update set v = excluded.v;
                 delete from t where id = {}",
                random.below(150)
            ),
        );
        run(&mut root, "select pgq.ticker('q')");
        if random.one_in(10) {
            run(
                &mut leaf,
                "update londiste.table_info set merge_state = null, custom_snapshot = null
                  where merge_state = 'ok'",
            );
        }
    }
    set.await_sync("root", "leaf");
    for table in ["t", "log"] {
        set.assert_same("root", "leaf", &format!("select * from {table} order by id"));
    }
    let said = set.said("leaf");
    assert!(said.contains("works without a lock that somebody else holds"), "{said}");
    assert!(!said.contains("duplicate key"), "{said}");
    assert!(!said.contains("the copy begins anew"), "{said}");
}

/// The server process of the copier that waits for a lock of the leaf's table.
const WAITS: &str = "select a.pid from pg_stat_activity a join pg_locks l on l.pid = a.pid
                      where a.datname = current_database()
                        and a.application_name like '%.copy.%' and not l.granted";

#[test]
fn a_copy_goes_on_while_the_worker_reads_its_settings_again() {
    let set = set();
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    let worker = set.start("leaf", None);
    let mut leaf = set.connect("leaf");
    assert!(wait_until(PATIENCE, || row(&mut leaf, WAITS) != "nothing"), "{}", set.said("leaf"));
    let pid = row(&mut leaf, WAITS);
    worker.signal("HUP");
    let again = || set.said("leaf").matches("service londiste starts").count() == 2;
    assert!(wait_until(PATIENCE, again), "{}", set.said("leaf"));
    // The new worker has found the copy by now.
    run(&mut set.connect("root"), "create table other (id int primary key)");
    set.attach("root", "public.other", "");
    let known = "select count(*) from londiste.table_info where table_name = 'public.other'";
    set.await_answer("root", "leaf", known, "1");
    assert_eq!(row(&mut leaf, WAITS), pid);
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
}

#[test]
fn a_copy_begins_again_when_it_is_to_connect_otherwise() {
    let set = set();
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    let worker = set.start("leaf", None);
    let mut leaf = set.connect("leaf");
    assert!(wait_until(PATIENCE, || row(&mut leaf, WAITS) != "nothing"), "{}", set.said("leaf"));
    let pid = row(&mut leaf, WAITS);
    set.connect_with("leaf", "options='-c pgq.by=the_new_settings'");
    worker.signal("HUP");
    let is_new = || !["nothing", &pid].contains(&row(&mut leaf, WAITS).as_str());
    assert!(wait_until(PATIENCE, is_new), "{}", set.said("leaf"));
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
}

#[test]
fn a_worker_ends_though_its_copier_waits_for_a_lock() {
    let set = set();
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    let mut worker = set.start("leaf", None);
    let mut leaf = set.connect("leaf");
    assert!(wait_until(PATIENCE, || row(&mut leaf, WAITS) != "nothing"), "{}", set.said("leaf"));
    worker.signal("TERM");
    assert!(wait_until(PATIENCE, || worker.is_dead()), "{}", set.said("leaf"));
}

#[test]
fn a_worker_ends_though_it_waits_for_a_lock() {
    let set = set();
    let mut worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access exclusive mode");
    run(&mut set.connect("root"), "insert into t values (1000, 'waits')");
    let waits = "select count(*) from pg_locks where relation = 't'::regclass and not granted";
    set.await_answer("root", "leaf", waits, "1");
    worker.signal("TERM");
    assert!(wait_until(PATIENCE, || worker.is_dead()), "{}", set.said("leaf"));
}

#[test]
fn rows_are_held_in_memory_a_page_at_a_time_however_wide_they_are() {
    let set = set();
    let worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    run(
        &mut set.connect("root"),
        "insert into t select n, repeat('w', 1000000) from generate_series(1001, 1300) n",
    );
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select count(*), sum(length(v)) from t");
    let peak = worker.peak_memory();
    assert!(peak < 150 << 20, "{peak} bytes");
}

/// Another worker that waits would take it between two runs, and end the copy.
#[test]
fn a_worker_keeps_its_right_while_it_reads_its_settings_again() {
    let set = set();
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    let mut first = set.start("leaf", None);
    let mut leaf = set.connect("leaf");
    let copier = format!("{WAITS} and a.datname = current_database()");
    assert!(wait_until(PATIENCE, || row(&mut leaf, &copier) != "nothing"), "{}", set.said("leaf"));
    let pid = row(&mut leaf, &copier);
    let mut second = set.start("leaf", None);
    let waits = || set.said("leaf").contains("waits for another worker of queue");
    assert!(wait_until(PATIENCE, waits), "{}", set.said("leaf"));
    const HAS_RIGHT: &str = "select pid from pg_locks
                              where locktype = 'advisory' and objsubid = 1 and granted
                                and mode = 'ExclusiveLock'
                                and database = (select oid from pg_database
                                                 where datname = current_database())";
    let right = row(&mut leaf, HAS_RIGHT);
    first.signal("HUP");
    let again = || set.said("leaf").matches("service londiste starts").count() == 3;
    assert!(wait_until(PATIENCE, again), "{}", set.said("leaf"));
    // It works again by now.
    run(&mut set.connect("root"), "create table other (id int primary key)");
    set.attach("root", "public.other", "");
    let known = "select count(*) from londiste.table_info where table_name = 'public.other'";
    set.await_answer("root", "leaf", known, "1");
    assert_eq!(row(&mut leaf, HAS_RIGHT), right, "{}", set.said("leaf"));
    assert_eq!(row(&mut leaf, &copier), pid, "{}", set.said("leaf"));
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");

    // When it ends it gives the right back.
    first.signal("INT");
    assert!(wait_until(PATIENCE, || first.is_dead()), "{}", set.said("leaf"));
    let taken = || set.said("leaf").contains("the other worker has ended");
    assert!(wait_until(PATIENCE, taken), "{}", set.said("leaf"));
    second.kill();
}
