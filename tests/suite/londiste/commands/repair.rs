//! Rows that went wrong are found and put right, whatever is written meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use pgq_tests::query::{row, rows, run};

use super::{Node, refused, replace, restore, server, set_of};

const PAUSED: &str = "select paused, coalesce(node_attrs, '-')
                        from pgq_node.local_state cross join pgq_node.node_info";

/// What it prints, and its exit code.
fn repair(node: &Node<'_>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = node.output(&[&["repair"], arguments].concat());
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn rows_are_made_as_they_are_above() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("branch", "branch"), ("leaf", "leaf")]);
    let table = "create table \"T t\" (b text, a numeric, v text, \"at\" timestamptz, raw bytea,
                     list int[], u int unique, doc json, pad char(5),
                     twice numeric generated always as (a * 2) stored, primary key (a, b))";
    for node in &nodes {
        run(&mut node.connect(), table);
        node.londiste(&["add-table", "T t"]);
    }
    let mut root = nodes[0].connect();
    run(
        &mut root,
        "insert into \"T t\" select 'b''\\' || i, i / 4.0, 'v' || i, '2026-01-01 00:00:00+00',
                decode(md5(i::text), 'hex'), array[i, null], i, '{\"a\":  1}', 'x '
           from generate_series(1, 5000) i;
         insert into \"T t\" values ('Zoe', 1);
         insert into \"T t\" values ('ä', 1, '', 'infinity', '', '{}', null, 'null', 'y')",
    );
    let all = "\"T t\"";
    for node in &nodes[1..] {
        node.wait_until_in_sync();
        node.wait_for_rows_of(&nodes[0], all);
    }
    let branch = &nodes[1];
    let mut there = branch.connect();
    run(
        &mut there,
        "alter database branch set timezone = 'Asia/Tokyo'; set session_replication_role = replica",
    );
    assert_eq!(
        repair(branch, &[]),
        (Some(0), "-- public.T t: 0 inserts, 0 updates, 0 deletes\n".to_owned())
    );
    run(
        &mut there,
        "delete from \"T t\" where a = 1 or u = 4000;
         insert into \"T t\" values ('extra', 0), ('zz''; drop table t; --', 9999999);
         update \"T t\" set v = null, raw = '\\x00', at = now(), list = '{9}' where u = 17;
         update \"T t\" set u = 100000 where u = 50; update \"T t\" set u = 50 where u = 51;
         update \"T t\" set u = 51 where u = 100000; update \"T t\" set a = 25.00 where u = 100;
         update \"T t\" set pad = 'x', doc = '{\"a\":1}' where u = 200",
    );
    let broken = rows(&mut there, "select * from \"T t\" order by a, b");
    let (code, said) = repair(branch, &["T t"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.ends_with("-- public.T t: 4 inserts, 5 updates, 2 deletes\n"), "{said}");
    assert!(said.contains("delete from only \"public\".\"T t\" where \"a\" = '9999999'"), "{said}");
    assert!(!said.contains("twice"), "{said}");
    assert_eq!(rows(&mut there, "select * from \"T t\" order by a, b"), broken);
    // A part of it, and then all, where two rows are in each other's way.
    let (code, said) = repair(branch, &["--apply", "--repair-where", "u = 17"]);
    assert_eq!((code, &*said), (Some(0), "public.T t: 0 inserts, 1 updates, 0 deletes\n"));
    let (code, said) = repair(branch, &["--apply"]);
    assert_eq!((code, &*said), (Some(0), "public.T t: 4 inserts, 4 updates, 2 deletes\n"));
    let text = "select md5(string_agg(x::text, ',' order by x::text)) from \"T t\" x";
    run(&mut there, "set timezone = 'UTC'");
    run(&mut root, "set timezone = 'UTC'");
    assert_eq!(row(&mut there, text), row(&mut root, text));
    assert_eq!(repair(branch, &[]).0, Some(0));
    assert_eq!(row(&mut there, PAUSED), "f|-");
    run(&mut there, "alter database branch reset timezone");
    // The same from the branch to the leaf.
    let leaf = &nodes[2];
    leaf.londiste(&["change-provider", "--provider", "branch"]);
    run(
        &mut leaf.connect(),
        "set session_replication_role = replica; delete from \"T t\" where u < 600",
    );
    assert_eq!(repair(leaf, &["--apply"]).1, "public.T t: 599 inserts, 0 updates, 0 deletes\n");
    leaf.wait_for_rows_of(branch, all);

    run(&mut there, "alter table \"T t\" drop constraint \"T t_pkey\"");
    let (_, said) = refused(branch, &["repair"]);
    assert!(
        said.contains("does not have the same primary key here and on node \"root\""),
        "{said}"
    );
    let (code, said) = refused(&nodes[0], &["repair"]);
    assert!(code == Some(2) && said.contains("\"root\" is the root"), "{said}");
}

#[test]
fn what_is_written_meanwhile_is_not_undone() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    for node in [root, one] {
        run(&mut node.connect(), "create table t (id int primary key, v int)");
        node.londiste(&["add-table", "t"]);
    }
    run(&mut root.connect(), "insert into t select i, 0 from generate_series(1, 200) i");
    one.wait_until_in_sync();
    one.wait_for_rows_of(root, "t");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (client, over) = (root.connect(), &over);
        let writes = scope.spawn(move || {
            let (mut root, mut n) = (client, 0);
            while !over.load(Ordering::Relaxed) {
                n += 1;
                run(
                    &mut root,
                    &format!(
                        "update t set v = {n} where id = {n} % 150; delete from t where id = {n} * 7 % 100;
                         insert into t select {n} * 7 % 90, {n} on conflict do nothing"
                    ),
                );
            }
            n
        });
        let mut there = one.connect();
        run(&mut there, "set session_replication_role = replica");
        for round in 0..6 {
            // Rows that events do not meet any more, and ones that nobody touches.
            run(&mut there, &format!("update t set v = -1 where id % 6 = {round}"));
            let (code, said) = repair(one, &["--apply"]);
            assert!(matches!(code, Some(0 | 1)), "{said}");
        }
        over.store(true, Ordering::Relaxed);
        assert!(writes.join().unwrap() > 100);
    });
    let tick = row(&mut root.connect(), "select pgq.force_tick('rep')");
    let has = format!("select worker_last_tick >= {tick} from pgq_node.get_node_info('rep')");
    one.wait_for(&has, "t");
    assert_eq!(repair(one, &["--apply"]).0, Some(0));
    one.wait_for_rows_of(root, "t");
    assert_eq!(row(&mut one.connect(), PAUSED), "f|-");
    let error = "select cur_error is null from pgq_node.local_state";
    assert_eq!(row(&mut one.connect(), error), "t");
}

#[test]
fn a_row_that_is_written_between_looking_and_writing_is_left_alone() {
    let cluster = server();
    let nodes = set_of(&cluster, &[("one", "branch")]);
    let [root, one] = &nodes[..] else { panic!("two nodes") };
    for node in [root, one] {
        run(&mut node.connect(), "create table t (id int primary key, v int)");
        node.londiste(&["add-table", "t"]);
    }
    run(&mut root.connect(), "insert into t values (1, 1), (2, 2)");
    one.wait_until_in_sync();
    one.wait_for_rows_of(root, "t");
    let mut there = one.connect();
    run(&mut there, "set session_replication_role = replica; update t set v = -1; delete from t");
    // It waits before it has the worker pause.
    let head = "q text, c text, p boolean, out ret_code int4, out ret_note text";
    let body = "perform pg_advisory_xact_lock(77);
                select r.* into ret_code, ret_note from pgq_node.real(q, c, p) r;";
    replace(one, "set_consumer_paused", "text, text, boolean", head, body);
    run(&mut there, "select pg_advisory_lock(77)");
    let mut command = one.command(&["repair", "--apply"]);
    let command = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    one.wait_for("select count(*) from pg_locks where objid = 77 and not granted", "1");
    // That the row is gone is not here yet, or is: it met none.
    run(&mut root.connect(), "delete from t where id = 2");
    run(&mut there, "select pg_advisory_unlock(77)");
    let output = command.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "public.t: 1 inserts, 0 updates, 0 deletes\n");
    assert_eq!(output.status.code(), Some(1));
    restore(one, "set_consumer_paused", "text, text, boolean");
    assert_eq!(repair(one, &["--apply"]).0, Some(0));
    assert_eq!(rows(&mut there, "select * from t"), ["1|1"]);
}
