//! What SQL says of nodes, tables and copies that are under way.

use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::in_server::awaits;
use super::set::{Driver, Set};

const NODES: &str =
    "select node_name, node_type, is_here, is_dead, provider_node, tick is not null,
                            lag < '1 hour', tables_ok, tables_copying, tables_waiting,
                            tables_ignored, paused, worker_name, worker_state, worker_place,
                            worker_seen > now() - interval '1 hour', error, held_by
                       from londiste.status()";

/// A root with a table of 100 rows, whose copy to the leaf stops before row 51 as long as somebody
/// holds advisory lock 51.
fn set(driver: Driver) -> Set {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key)");
    }
    run(&mut set.connect("root"), "insert into t select generate_series(1, 100); analyze t");
    run(
        &mut set.connect("leaf"),
        "create function hold() returns trigger language plpgsql as
             $$ begin
                 if new.id > 50 then perform pg_advisory_xact_lock_shared(51); end if;
                 return new;
             end $$;
         create trigger hold before insert on t for each row execute function hold();
         alter table t enable always trigger hold",
    );
    set.attach("root", "public.t", "");
    set
}

#[test]
fn a_copy_is_seen_with_what_it_has_brought() {
    copy_is_seen(Driver::Server);
}

#[test]
fn a_copy_by_a_program_is_seen_too() {
    copy_is_seen(Driver::Program);
}

fn copy_is_seen(driver: Driver) {
    let set = set(driver);
    let mut leaf = set.connect("leaf");
    let mut holder = set.connect("leaf");
    run(&mut holder, "select pg_advisory_lock(51)");
    set.attach("leaf", "public.t", "");
    assert_eq!(
        row(&mut leaf, "select table_name, dest_table, state, pid from londiste.table_status()"),
        "public.t|public.t|waiting|∅"
    );
    let _worker = set.start("leaf", None);
    // What the worker has of the server comes from nobody else's view of it.
    let reader = set.role("leaf", "reader");
    run(&mut leaf, &format!("grant londiste_reader to {reader}"));
    let mut sessions = [set.connect_as("leaf", &reader), set.connect("leaf")];
    let sees_progress = row(&mut leaf, "select to_regclass('pg_stat_progress_copy') is not null");
    let rows_copied = if sees_progress == "t" { "50" } else { "∅" };
    for session in &mut sessions {
        let states = "select state from londiste.table_status('q')";
        set.await_answer("root", "leaf", states, "copying");
        let copied = "select rows_copied from londiste.table_status()";
        awaits(session, copied, rows_copied);
        if sees_progress == "t" {
            let status = "select bytes_copied > 0, pid in (select pid from pg_stat_activity)
                            from londiste.table_status()";
            assert_eq!(row(session, status), "t|t");
        }
        let expected = "select expected_rows, expected_bytes > 0, percent, rows_per_second >= 0,
                               time_left < '1 hour', copy_began <= now()
                          from londiste.table_status()";
        let answer = match (driver, sees_progress.as_str()) {
            // The program does not note what it begins.
            (Driver::Program, _) => "∅|∅|∅|∅|∅|∅",
            (Driver::Server, "t") => "100|t|50|t|t|t",
            (Driver::Server, _) => "100|t|∅|∅|∅|t",
        };
        assert_eq!(row(session, expected), answer);
        let counts = "select tables_ok, tables_copying, tables_waiting, tables_ignored,
                             worker_state, worker_place
                        from londiste.status() where is_here";
        let place = if driver == Driver::Server { "server" } else { "program" };
        awaits(session, counts, &format!("0|1|0|0|working|{place}"));
    }
    run(&mut holder, "select pg_advisory_unlock(51)");
    set.await_sync("root", "leaf");
    let done = "select state, rows_copied, expected_rows, percent, time_left, copy_began
                  from londiste.table_status()";
    awaits(&mut leaf, done, "ok|∅|∅|∅|∅|∅");
    drop(sessions);
    run(&mut leaf, &format!("drop role {reader}"));
}

#[test]
fn each_node_says_what_it_knows_of_itself_and_of_those_who_read_there() {
    let set = set(Driver::Server);
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(&mut leaf, "select londiste.global_add_table('q', 'public.other')");
    let _workers = [set.start("root", None), set.start("leaf", None)];
    set.attach("leaf", "public.t", "");
    set.await_sync("root", "leaf");
    awaits(
        &mut leaf,
        NODES,
        "leaf|leaf|t|f|root|t|∅|1|0|0|1|f|leaf_worker|working|server|t|∅|∅\n\
         root|∅|f|f|∅|f|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅|∅",
    );
    let held = "select held_by in ('leaf_worker', '.leaf.watermark') from londiste.status('q')
                 where is_here";
    awaits(&mut root, held, "t");
    let nodes = NODES.replace(", held_by", "");
    awaits(
        &mut root,
        &nodes,
        "root|root|t|f|∅|t|t|1|0|0|0|f|root_worker|working|server|t|∅\n\
         leaf|∅|f|f|root|t|t|∅|∅|∅|∅|∅|leaf_worker|∅|∅|t|∅",
    );
    assert_eq!(rows(&mut root, "select * from londiste.status('none')"), Vec::<String>::new());
    assert_eq!(rows(&mut root, "select * from londiste.table_status('none')"), [""; 0]);

    // What waits for the leaf, and why.
    run(&mut leaf, "alter table t add check (id < 200) not valid");
    run(&mut root, "insert into t select generate_series(201, 210)");
    let fails = "select worker_state, sqlstate, error like '%public.t%', failing_since <= now()
                   from londiste.status('q') where is_here";
    awaits(&mut leaf, fails, "failing|23514|t|t");
    let waits = "select lag_events >= 10, error from londiste.status('q') where not is_here";
    awaits(&mut root, waits, "t|∅");
    run(&mut leaf, "alter table t drop constraint t_id_check");
    set.await_sync("root", "leaf");
    awaits(
        &mut leaf,
        "select worker_state, error from londiste.status('q') where is_here",
        "working|∅",
    );

    run(&mut leaf, "select pgq_node.set_consumer_paused('q', 'leaf_worker', true)");
    awaits(&mut leaf, "select paused, uptodate from londiste.status() where is_here", "t|t");
    run(&mut leaf, "select londiste.stop_worker('q')");
    let gone = "select worker_state, worker_place, worker_pid from londiste.status()
                 where is_here";
    awaits(&mut leaf, gone, "none|∅|∅");
}

#[test]
fn a_copy_that_fails_says_with_what_and_what_is_parked() {
    let set = set(Driver::Server);
    let mut leaf = set.connect("leaf");
    run(
        &mut leaf,
        "create table child (id int primary key, t int references t);
         alter table t add check (id < 30)",
    );
    run(&mut set.connect("root"), "create table child (id int primary key, t int)");
    for name in ["root", "leaf"] {
        set.attach(name, "public.child", "expect_sync");
    }
    set.attach("leaf", "public.t", "");
    let _worker = set.start("leaf", None);
    let failing = "select state, sqlstate, error like '%t_id_check%', failing_since <= now(),
                          attempts > 0, parked_fkeys
                     from londiste.table_status() where table_name = 'public.t'";
    let code = "select sqlstate from londiste.table_status() where table_name = 'public.t'";
    set.await_answer("root", "leaf", code, "23514");
    assert!(wait_until(PATIENCE, || {
        outcome(&mut leaf, failing).ends_with("|23514|t|t|t|{child_t_fkey}")
    }));
    let status = "select tables_copying, worker_state, sqlstate from londiste.status()
                   where is_here";
    awaits(&mut leaf, status, "1|working|23514");
    run(&mut leaf, "alter table t drop constraint t_id_check");
    set.await_sync("root", "leaf");
    awaits(
        &mut leaf,
        "select sqlstate, error, parked_fkeys from londiste.table_status() where table_name = 'public.t'",
        "∅|∅|∅",
    );
}
