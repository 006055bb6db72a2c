//! A set that is run from psql alone.

use std::thread;

use pgq_tests::Tree;
use pgq_tests::query::{outcome, row, rows, run};

use super::in_server::awaits;
use super::set::{Driver, Set};

#[test]
fn a_node_is_run_from_psql_alone() {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    for client in [&mut root, &mut leaf] {
        run(client, "create table t (id int primary key); create table u (id int primary key)");
    }
    run(&mut root, "insert into t values (1); insert into u values (1)");
    run(&mut root, "select londiste.add_tables('q', '*')");
    let _workers = [set.start("root", None), set.start("leaf", None)];
    // Its worker tells the node what there is.
    awaits(
        &mut leaf,
        "select table_name from londiste.table_info order by 1",
        "public.t\npublic.u",
    );
    run(&mut leaf, "select londiste.add_tables('q', '*')");
    run(&mut leaf, "call londiste.wait_sync('q', '1 hour')");
    assert_eq!(row(&mut leaf, "select count(*) from t, u"), "1");

    // Somebody else's row goes with a new copy.
    run(&mut leaf, "set session_replication_role = replica; insert into t values (7)");
    assert_eq!(
        rows(&mut leaf, "select * from londiste.resync('q', 't')"),
        ["public.t|200|Table public.t state set to NULL"]
    );
    run(&mut leaf, "call londiste.wait_sync('q')");
    assert_eq!(row(&mut leaf, "select count(*) from t"), "1");

    // Who rests copies nothing, and what is waited for is named.
    run(&mut leaf, "select londiste.pause('q')");
    awaits(&mut leaf, "select paused, uptodate from londiste.status() where is_here", "t|t");
    run(&mut leaf, "select londiste.resync('q', '?')");
    assert_eq!(
        outcome(&mut leaf, "call londiste.wait_sync('q', '0')"),
        "ERROR 55000: tables of queue \"q\" are not in sync: public.t, public.u"
    );
    // It can be cancelled.
    let mut waits = set.connect("leaf");
    let pid = row(&mut waits, "select pg_backend_pid()");
    let waiting = thread::spawn(move || outcome(&mut waits, "call londiste.wait_sync('q')"));
    awaits(
        &mut leaf,
        &format!("select wait_event from pg_stat_activity where pid = {pid} and state = 'active'"),
        "PgSleep",
    );
    run(&mut leaf, &format!("select pg_cancel_backend({pid})"));
    assert!(waiting.join().unwrap().starts_with("ERROR 57014: "));
    run(&mut leaf, "select londiste.resume('q')");
    run(&mut leaf, "call londiste.wait_sync('q')");

    // A script comes in its place among the changes.
    run(&mut root, "insert into t values (2)");
    let script = "select ret_code from londiste.execute('q', 'more',
                      'alter table t add v text; insert into t values (3, ''by the script'')')";
    assert_eq!(row(&mut root, script), "200");
    run(&mut root, "insert into t values (4, 'after')");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    assert_eq!(row(&mut leaf, "select count(*) from t"), "4");
    run(&mut leaf, "select londiste.remove_tables('q', 't')");
    assert_eq!(
        rows(&mut leaf, "select table_name, state from londiste.table_status()"),
        ["public.t|ignored", "public.u|ok"]
    );
}

#[test]
fn a_node_moves_to_another_provider_and_a_call_that_ends_early_is_gone_on_with() {
    let nodes = ["root", "mid", "leaf"].map(|name| (name, Tree::Ours));
    let set = Set::driven(Driver::Server, &nodes);
    set.create("root", "root", None);
    set.create("mid", "branch", Some("root"));
    set.create("leaf", "leaf", Some("root"));
    for (name, _) in nodes {
        run(&mut set.connect(name), "create table t (id int primary key)");
        set.attach(name, "public.t", "expect_sync");
    }
    let _workers = [set.start("root", None), set.start("mid", None)];
    set.await_sync("root", "mid");
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let call = |client: &mut postgres::Client, rest: &str| {
        outcome(client, &format!("call londiste.change_provider({rest})"))
    };
    for (rest, answer) in [
        ("null, 'mid'", "ERROR 22004: queue and provider must not be null"),
        ("'q', null", "ERROR 22004: queue and provider must not be null"),
        ("'x', 'mid'", "ERROR 42704: this database is no node of queue \"x\""),
        ("'q', 'none'", "ERROR 42704: queue \"q\" has no live node \"none\""),
        ("'q', 'leaf'", "ERROR 55000: node \"leaf\" cannot read from node \"leaf\""),
    ] {
        assert_eq!(call(&mut leaf, rest), answer, "{rest}");
    }
    assert_eq!(
        call(&mut root, "'q', 'mid'"),
        "ERROR 55000: node \"root\" cannot read from node \"mid\""
    );
    assert_eq!(
        call(&mut set.connect("mid"), "'q', 'leaf'"),
        "ERROR 55000: node \"leaf\" is a leaf"
    );
    assert!(
        outcome(&mut leaf, "begin; call londiste.change_provider('q', 'mid')")
            .starts_with("ERROR 2D000: ")
    );
    run(&mut leaf, "rollback");
    // Who is not superuser cannot go by locations, and has changed nothing.
    let writer = set.role("leaf", "writer");
    run(&mut leaf, &format!("grant londiste_writer to {writer}"));
    let mut other = set.connect_as("leaf", &writer);
    assert_eq!(call(&mut other, "'q', 'mid'"), "ERROR 42501: a password is required");
    drop(other);
    run(&mut leaf, &format!("drop role {writer}"));

    // One thing at a time, whoever does it.
    let mut taker = set.connect("leaf");
    let lock = "hashtextextended('pgq londiste takeover q', 0)";
    run(&mut taker, &format!("select pg_advisory_lock({lock})"));
    assert_eq!(
        call(&mut leaf, "'q', 'mid'"),
        "ERROR 55000: the node changes its place in the set already"
    );
    run(&mut taker, &format!("select pg_advisory_unlock({lock})"));
    run(&mut leaf, "select pgq_node.register_location('q', 'mid', null, true)");
    assert_eq!(call(&mut leaf, "'q', 'mid'"), "ERROR 55000: queue \"q\" has no live node \"mid\"");
    run(&mut leaf, "select pgq_node.register_location('q', 'mid', null, false)");

    // Without a worker that rests it goes no further, which is seen; and it can be given up.
    let state = "select provider_node, moving_to, paused from londiste.status() where is_here";
    assert_eq!(row(&mut leaf, state), "root|∅|f");
    let waits = "ERROR 55000: the provider is not changed: it waits for worker \"leaf_worker\" to \
                 rest: does it run?";
    assert_eq!(call(&mut leaf, "'q', 'mid', '0'"), waits);
    assert_eq!(row(&mut leaf, state), "root|mid|t");
    assert_eq!(call(&mut leaf, "'q', 'root'"), "");
    assert_eq!(row(&mut leaf, state), "root|∅|f");
    assert_eq!(call(&mut leaf, "'q', 'mid', '0'"), waits);

    // The worker could not connect.
    let _worker = set.start("leaf", None);
    awaits(&mut leaf, "select paused, uptodate from londiste.status() where is_here", "t|t");
    run(&mut leaf, "alter server mid rename to elsewhere");
    assert_eq!(
        call(&mut leaf, "'q', 'mid'"),
        "ERROR 55000: there is no foreign server for node \"mid\""
    );
    run(&mut leaf, "alter server elsewhere rename to mid");

    // It was killed when the provider knew the node, which has gone on meanwhile.
    let location = "select node_location from pgq_node.node_location where node_name = 'mid'";
    let subscribe = format!(
        "select londiste._subscribe_at('q', 'leaf', ({location}), 'leaf_worker', completed_tick)
           from pgq_node.get_worker_state('q')"
    );
    run(&mut leaf, &subscribe);
    run(&mut leaf, "select londiste.resume('q')");
    run(&mut root, "insert into t values (1)");
    set.await_sync("root", "leaf");
    assert_eq!(call(&mut leaf, "'q', 'mid', '1 hour'"), "");
    assert_eq!(row(&mut leaf, state), "mid|∅|f");
    let readers = "select subscriber_node from pgq_node.subscriber_info order by 1";
    assert_eq!(rows(&mut root, readers), ["mid"]);
    assert_eq!(rows(&mut set.connect("mid"), readers), ["leaf"]);
    run(&mut root, "insert into t values (2)");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
    // It is there: nothing is done.
    assert_eq!(call(&mut leaf, "'q', 'mid'"), "");
    assert_eq!(
        call(&mut set.connect("mid"), "'q', 'leaf'"),
        "ERROR 55000: node \"leaf\" is a leaf"
    );

    // Who was paused before stays so.
    run(&mut leaf, "select londiste.pause('q')");
    awaits(&mut leaf, "select paused, uptodate from londiste.status() where is_here", "t|t");
    assert_eq!(call(&mut leaf, "'q', 'root', '1 hour'"), "");
    assert_eq!(row(&mut leaf, state), "root|∅|t");
    assert_eq!(rows(&mut root, readers), ["leaf", "mid"]);
    run(&mut leaf, "select londiste.resume('q')");
    run(&mut root, "insert into t values (3)");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
}
