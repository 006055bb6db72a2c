//! What others may do in a node's database, and what comes of it for the worker inside the server.

use pgq_tests::query::{row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::in_server::{awaits, pid};
use super::set::{Driver, Set, WORKS};

/// A root and a leaf with table `t`, which is to be copied.
fn set() -> Set {
    let set = Set::driven(Driver::Server, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key, v text)");
        set.attach(name, "public.t", "");
    }
    run(&mut set.connect("root"), "insert into t select n, 'n' from generate_series(1, 100) n");
    set
}

/// The owner of a database says where its sessions look first; types of ours are not looked for.
#[test]
fn nothing_of_a_databases_path_is_run() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    run(
        &mut leaf,
        "create schema first; create table first.caught (what text);
         create function first.trap(value text) returns boolean language plpgsql as $$
         begin
             insert into first.caught values (value);
             return true;
         exception when others then
             raise exception 'trapped';
         end $$",
    );
    for (name, base) in [
        ("int4", "int4"),
        ("int8", "int8"),
        ("int2", "int2"),
        ("text", "text"),
        ("oid", "oid"),
        ("name", "name"),
        ("regclass", "regclass"),
        ("regrole", "regrole"),
        ("txid_snapshot", "txid_snapshot"),
    ] {
        run(
            &mut leaf,
            &format!(
                "create domain first.{name} as pg_catalog.{base}
                     check (first.trap(value::pg_catalog.text))"
            ),
        );
    }
    let name = row(&mut leaf, "select current_database()");
    run(&mut leaf, &format!("alter database {name} set search_path = first, pg_catalog, public"));
    run(&mut leaf, "select londiste.start_worker('q')");
    set.await_sync("root", "leaf");
    run(&mut root, "insert into t values (1000, 'later')");
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from public.t order by id");
    awaits(&mut leaf, WORKS, "1");
    assert_eq!(row(&mut leaf, "select count(*) from first.caught"), "0");
}

/// Whoever may connect can take the lock of a copy.
#[test]
fn a_lock_that_somebody_else_holds_stops_no_copy() {
    let set = set();
    let nobody = set.role("leaf", "nobody");
    let mut attacker = set.connect_as("leaf", &nobody);
    run(
        &mut attacker,
        "select pg_advisory_lock(hashtextextended('leaf_worker.copy.public.t', 7372))",
    );
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from t order by id");
}

/// A provider keeps all events for whoever is registered.
#[test]
fn a_table_that_is_removed_while_nothing_copies_it_leaves_nothing_at_the_provider() {
    let set = set();
    let (mut root, mut leaf) = (set.connect("root"), set.connect("leaf"));
    let mut holder = set.connect("leaf");
    run(&mut holder, "begin; lock table t in access share mode");
    let mut worker = set.start("leaf", None);
    const COPIES: &str =
        "select count(*) from pgq.get_consumer_info('q') where consumer_name like '%.copy.%'";
    awaits(&mut root, COPIES, "1");
    worker.kill();
    run(&mut holder, "commit");
    run(&mut root, "select londiste.global_remove_table('q', 'public.t')");
    run(&mut leaf, "select londiste.global_remove_table('q', 'public.t')");
    assert_eq!(row(&mut root, COPIES), "1");
    let _worker = set.start("leaf", None);
    set.await_answer("root", "leaf", "select count(*) from pgq_node.local_state", "1");
    awaits(&mut root, COPIES, "0");
}

/// A server of the right name that leads to another node.
#[test]
fn a_provider_that_is_another_node_is_not_read() {
    let set = Set::driven(
        Driver::Server,
        &[("root", Tree::Ours), ("branch", Tree::Ours), ("leaf", Tree::Ours)],
    );
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    set.create("leaf", "leaf", Some("root"));
    let (mut leaf, mut branch) = (set.connect("leaf"), set.connect("branch"));
    let other = row(&mut branch, "select current_database()");
    run(&mut leaf, &format!("alter server root options (set dbname '{other}')"));
    let _worker = set.start("leaf", None);
    pid(&mut leaf);
    let words =
        "the provider is to be node \"root\" of queue \"q\", and says that it is \"branch\"";
    let told = format!("select count(*) from londiste.worker_status() where error = '{words}'");
    assert!(wait_until(PATIENCE, || row(&mut leaf, &told) == "1"));
}
