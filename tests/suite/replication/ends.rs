//! What ends a worker inside the server, and what does not.

use std::net::TcpListener;

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};
use postgres::Client;

use super::in_server::{awaits, pid, set};
use super::set::{Driver, Set, WORKS, await_turns};

#[test]
fn what_is_dropped_under_a_worker_ends_it() {
    let first = set();
    let (mut root, mut leaf) = (first.connect("root"), first.connect("leaf"));
    let worker = first.start("leaf", None);
    run(&mut root, "insert into t values (1, 'a')");
    first.await_sync("root", "leaf");
    run(&mut leaf, "select pgq_node.drop_node('q', 'leaf')");
    awaits(&mut leaf, WORKS, "0");
    drop(worker);
    let set = set();
    let mut leaf = set.connect("leaf");
    let _worker = set.start("leaf", None);
    pid(&mut leaf);
    run(&mut leaf, "set client_min_messages = error; drop extension londiste cascade");
    awaits(&mut leaf, WORKS, "0");
}

#[test]
fn a_database_can_be_dropped_in_the_middle_of_a_batch() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(
        &mut leaf,
        "create function slow() returns trigger language plpgsql as
         'begin perform pg_sleep(0.001); return new; end';
         create trigger slow before insert on t for each row execute function slow();
         alter table t enable always trigger slow",
    );
    let _worker = set.start("leaf", None);
    pid(&mut leaf);
    run(&mut root, "insert into t select n, 'n' from generate_series(1, 100000) n");
    let busy = "select count(*) from pg_locks where relation = 't'::regclass
                   and mode = 'RowExclusiveLock'";
    let mut polls = 0;
    assert!(wait_until(PATIENCE, || {
        polls += 1;
        row(&mut leaf, busy) != "0"
    }));
    let name = row(&mut leaf, "select current_database()");
    drop(leaf);
    let answer = outcome(&mut root, &format!("drop database {name}"));
    assert!(!answer.starts_with("ERROR"), "{answer}");
}

/// A provider that takes the connection and says nothing.
#[test]
fn a_provider_that_hangs_keeps_nobody_from_ending() {
    let set = set();
    let mut leaf = set.connect("leaf");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let port = silent.local_addr().unwrap().port();
    run(
        &mut leaf,
        &format!(
            "alter server root options (set host '127.0.0.1', set port '{port}',
                                        add sslmode 'disable')"
        ),
    );
    let worker = set.start("leaf", None);
    pid(&mut leaf);
    let mut connections = Vec::new();
    assert!(wait_until(PATIENCE, || {
        connections.extend(silent.accept());
        !connections.is_empty()
    }));
    drop(worker);
    assert_eq!(row(&mut leaf, WORKS), "0");
    let _worker = set.start("leaf", None);
    assert!(wait_until(PATIENCE, || {
        connections.extend(silent.accept());
        connections.len() > 1
    }));
    let name = row(&mut leaf, "select current_database()");
    drop(leaf);
    let answer = outcome(&mut set.connect("root"), &format!("drop database {name}"));
    assert!(!answer.starts_with("ERROR"), "{answer}");
}

/// A leaf whose copy of `t` waits for a lock; the lock's holder, and how to find the copy.
fn copying() -> (Set, Client, String) {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
        set.attach(name, "public.t", "");
    }
    run(&mut set.connect("root"), "insert into t select n, 'n' from generate_series(1, 100) n");
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    run(&mut set.connect("leaf"), "select londiste.start_worker('q')");
    let copy = "select a.pid from pg_stat_activity a join pg_locks l on l.pid = a.pid
                 where a.datname = current_database() and backend_type = 'londiste copy'
                   and not l.granted"
        .to_owned();
    let mut leaf = set.connect("leaf");
    assert!(wait_until(PATIENCE, || row(&mut leaf, &copy) != "nothing"));
    (set, holder, copy)
}

#[test]
fn a_copy_goes_on_while_workers_are_ended_and_ends_when_it_is_not_wished_for() {
    let (set, mut holder, copy) = copying();
    let mut leaf = set.connect("leaf");
    let copier = row(&mut leaf, &copy);
    const KEEPER: &str = "select pid from pg_stat_activity
                           where datname = current_database() and backend_type = 'pgq worker'";
    for end in [KEEPER.to_owned(), "select pid from londiste.worker_status('q') limit 1".to_owned()]
    {
        let (keeper, worker) = (row(&mut leaf, KEEPER), pid(&mut leaf));
        let ended = row(&mut leaf, &format!("select pg_terminate_backend(({end}))"));
        assert_eq!(ended, "t");
        assert!(wait_until(PATIENCE, || ![&worker, "∅"].contains(&pid(&mut leaf).as_str())));
        if end == KEEPER {
            assert!(wait_until(PATIENCE, || {
                ![&keeper, "nothing"].contains(&row(&mut leaf, KEEPER).as_str())
            }));
        }
        assert_eq!(row(&mut leaf, &copy), copier);
    }
    run(&mut leaf, "select londiste.stop_worker('q')");
    awaits(&mut leaf, WORKS, "0");
    assert_eq!(row(&mut leaf, "select merge_state from londiste.table_info"), "in-copy");
    let _worker = set.start("leaf", None);
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert_eq!(row(&mut leaf, WORKS), "1");
}

#[test]
fn a_cancel_of_nothing_ends_nothing() {
    let (set, mut holder, copy) = copying();
    let mut leaf = set.connect("leaf");
    let (copier, worker) = (row(&mut leaf, &copy), pid(&mut leaf));
    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', true)");
    awaits(&mut leaf, "select worker_uptodate from pgq_node.get_node_info('q')", "t");
    for _ in 0..20 {
        assert_eq!(row(&mut leaf, &format!("select pg_cancel_backend({worker})")), "t");
        // It has begun a turn, and another one: it has looked at it.
        await_turns(&mut leaf, "londiste worker", 0);
        await_turns(&mut leaf, "londiste worker", 0);
    }
    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', false)");
    assert_eq!((row(&mut leaf, &copy), pid(&mut leaf)), (copier, worker));
    run(&mut holder, "commit");
    set.await_sync("root", "leaf");
    run(&mut leaf, "select londiste.stop_worker('q')");
    awaits(&mut leaf, WORKS, "0");
}
