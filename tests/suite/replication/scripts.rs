//! Scripts are a part of the batch that they come with, and leave nothing of their own to the next.

use pgq_tests::Tree;
use pgq_tests::query::{row, run};

use super::set::{Driver, Set};

by_both! {
    a_script_cannot_end_the_transaction_that_runs_it,
    what_a_script_defers_is_done_where_it_ends,
    what_a_script_sets_is_not_for_what_follows,
    what_is_removed_on_the_root_may_be_gone_on_a_node,
}

fn a_script_cannot_end_the_transaction_that_runs_it(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(&mut set.connect(name), "create table t (id int primary key)");
        set.attach(name, "public.t", "expect_sync");
    }
    const HALF: &str = "insert into t values (1);\ncommit;\ninsert into t values (2);\nbegin;\n";
    let (ended, said) = set.try_execute("root", "half.sql", HALF);
    assert!(!ended, "{said}");
    let mut root = set.connect("root");
    assert_eq!(row(&mut root, "select count(*) from t"), "0");
    assert_eq!(row(&mut root, "select count(*) from londiste.applied_execute"), "0");

    // From a root that runs such scripts.
    let event = format!(
        "insert into t values (5);
         select pgq.insert_event('q', 'EXECUTE', '{HALF}', 'half.sql', '', null, null)"
    );
    run(&mut root, &event);
    let _worker = set.start("leaf", None);
    let refused = "select cur_error like '%transaction command%' from pgq_node.local_state";
    set.await_answer("root", "leaf", refused, "t");
    let mut leaf = set.connect("leaf");
    assert_eq!(row(&mut leaf, "select count(*) from t"), "0");
    assert_eq!(row(&mut leaf, "select count(*) from londiste.applied_execute"), "0");
    // What it does is done by hand, and noted.
    run(
        &mut leaf,
        "begin; set local session_replication_role = local;
         select londiste.execute_start('q', 'half.sql', '', false);
         insert into t values (1), (2);
         select londiste.execute_finish('q', 'half.sql'); commit",
    );
    set.await_sync("root", "leaf");
    assert_eq!(row(&mut leaf, "select string_agg(id::text, ',' order by id) from t"), "1,2,5");
}

/// What is deferred belongs to the script, with the role in which it runs, and not to the rest of
/// the batch.
fn what_a_script_defers_is_done_where_it_ends(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table b (id int primary key, v text);
             create table parent (id int primary key);
             create table own (id int primary key, parent int references parent
                                                       deferrable initially deferred);
             create function tell() returns trigger language plpgsql as
             $$ begin insert into public.b values (new.id, 'told'); return null; end $$;
             create constraint trigger tell after insert on own deferrable initially deferred
                 for each row execute function tell()",
        );
        set.attach(name, "public.b", "expect_sync");
    }
    let mut root = set.connect("root");
    // All of it in one batch.
    run(&mut root, "update pgq.queue set queue_ticker_paused = true");
    set.execute(
        "root",
        "one.sql",
        "insert into own values (1, 1);\ninsert into parent values (1);\n",
    );
    set.execute(
        "root",
        "two.sql",
        "insert into own values (2, 2);\ninsert into parent values (2);\n",
    );
    run(&mut root, "update b set v = 'changed' where id = 1; delete from b where id = 2");
    run(&mut root, "update pgq.queue set queue_ticker_paused = false");
    let captured = "select string_agg(ev_type, ',' order by ev_id) from pgq.event_template
                     where ev_extra1 = 'public.b'";
    assert_eq!(row(&mut root, captured), "U:id,D:id");
    let _worker = set.start("leaf", None);
    set.await_sync("root", "leaf");
    for table in ["b", "own", "parent"] {
        set.assert_same("root", "leaf", &format!("select * from {table} order by 1"));
    }
    assert_eq!(row(&mut set.connect("leaf"), "select * from b"), "1|changed");
    assert!(!set.said("leaf").contains("met no row"), "{}", set.said("leaf"));
}

fn what_a_script_sets_is_not_for_what_follows(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table t (id int primary key, at date); create schema app;
             create table seen (id int);
             create function see() returns trigger language plpgsql as
             $$ begin insert into seen values (new.id); return null; end $$;
             create trigger see after insert on t for each row execute function see()",
        );
        set.attach(name, "public.t", "expect_sync");
    }
    let mut root = set.connect("root");
    let _worker = set.start("leaf", None);
    // The last of them is of a role that may do nothing.
    const SETS: &str = "set search_path = app;\nset datestyle = 'ISO, YMD';\n\
                        set session_replication_role = origin;\ncreate table nothing ();\n\
                        set role pg_monitor;\n";
    set.execute("root", "sets.sql", SETS);
    // Once more under the same names, and one that the first has hidden.
    const LEAVES: &str = "create temp table t (id int);\nprepare p as select 1;\n\
                          declare c cursor with hold for select 1;\n";
    set.execute("root", "leaves.sql", LEAVES);
    set.execute("root", "leaves_again.sql", LEAVES);
    run(&mut root, "set datestyle = 'ISO, DMY'; insert into t values (1, '2024-03-02')");
    set.execute("root", "makes.sql", "create table made (id int);\n");
    set.await_sync("root", "leaf");
    let mut leaf = set.connect("leaf");
    for (sql, answer) in [
        ("select to_regclass('app.nothing') is not null", "t"),
        ("select to_regclass('public.made') is not null", "t"),
        ("select at from t", "2024-03-02"),
        // A trigger of the node's own does not fire for what comes from the queue.
        ("select count(*) from seen", "0"),
    ] {
        assert_eq!(row(&mut leaf, sql), answer, "{sql}");
    }
}

fn what_is_removed_on_the_root_may_be_gone_on_a_node(driver: Driver) {
    let set = Set::driven(driver, &[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create table gone (id int primary key); create table stays (id int primary key);
             create sequence s",
        );
        for table in ["public.gone", "public.stays"] {
            set.attach(name, table, "expect_sync");
        }
    }
    let mut root = set.connect("root");
    run(&mut root, "select londiste.local_add_seq('q', 'public.s')");
    run(&mut set.connect("leaf"), "select londiste.global_remove_table('q', 'public.gone')");
    let _worker = set.start("leaf", None);
    set.await_answer("root", "leaf", "select count(*) from londiste.seq_info", "1");
    run(&mut set.connect("leaf"), "select londiste.global_remove_seq('q', 'public.s')");
    run(
        &mut root,
        "select londiste.local_remove_table('q', 'public.gone');
         select londiste.local_remove_seq('q', 'public.s'); insert into stays values (1)",
    );
    set.await_sync("root", "leaf");
    set.assert_same("root", "leaf", "select * from stays");
    const KNOWN: &str = "select table_name from londiste.table_info";
    assert_eq!(row(&mut set.connect("leaf"), KNOWN), "public.stays");
}
