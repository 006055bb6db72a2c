//! Names mean what they mean to whom they belong: the worker's own statements take nothing of a
//! schema that a database's owner puts first; triggers and scripts find theirs.

use pgq_tests::query::{outcome, row, run};
use pgq_tests::{PATIENCE, Tree, wait_until};

use super::set::Set;

const TRAP: &str = include_str!("../security/trap.sql");
const CAUGHT: &str = "select is_called from trap.caught";

const TABLES: &str = r#"
create schema app;
create type app.mood as enum ('glad', 'sad');
create domain app.price as numeric check (value >= 0);
create extension citext schema app;
create table app.parent (id int primary key, name app.citext unique, mood app.mood,
                         price app.price, fixed char(4), bits bit(3), letter "char");
create table app.child (id bigint primary key, parent int references app.parent, at timestamptz,
                        data jsonb, list text[], raw bytea, part numeric(10, 2));
create table app.by_name (name app.citext primary key, v text);
create table app.by_values (at timestamptz, fixed char(4), part numeric, day date,
                            v varchar(10), primary key (at, fixed, part, day));
create sequence app.numbers;
"#;
const NAMES: [&str; 4] = ["app.parent", "app.child", "app.by_name", "app.by_values"];

/// Point the database's sessions at the schema of doubles.
fn lead_astray(set: &Set, name: &str) {
    let mut here = set.connect(name);
    run(&mut here, TRAP);
    run(
        &mut here,
        "do $$begin
             execute pg_catalog.format('alter database %I set search_path = trap, app, public, '
                                       'pg_catalog', pg_catalog.current_database());
         end$$",
    );
}

fn fill(set: &Set, from: u32) {
    run(
        &mut set.connect("root"),
        &format!(
            "insert into app.parent
             select n, 'Name ' || n, 'glad', n / 2.0, 'ab', b'101', 'x'
               from generate_series({from}, {from} + 9) n;
             insert into app.child
             select n, n, now(), '{{\"a\": 1}}', array['x', null], '\\x00ff', n / 3.0
               from generate_series({from}, {from} + 9) n;
             insert into app.by_name
             select 'Name ' || n, 'v' from generate_series({from}, {from} + 9) n;
             insert into app.by_values
             select '2024-01-01'::timestamptz + n * interval '1 hour', 'ab', n / 2.0,
                    '2024-01-01', 'v'
               from generate_series({from}, {from} + 9) n"
        ),
    );
}

fn assert_same(set: &Set) {
    for (table, key) in NAMES.into_iter().zip(["id", "id", "name", "at"]) {
        set.assert_same("root", "branch", &format!("select * from {table} order by {key}"));
    }
}

/// Whoever owns a database, or may make a schema that comes first there, runs nothing by a worker
/// that connects to it with more rights than his.
#[test]
fn no_double_in_a_databases_path_is_taken() {
    let mut set = Set::new(&[("root", Tree::Ours), ("branch", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("branch", "branch", Some("root"));
    for name in ["root", "branch"] {
        run(&mut set.connect(name), TABLES);
        for table in NAMES {
            set.attach(name, table, "");
        }
    }
    const ADD: &str = "select ret_code from londiste.local_add_seq('q', 'app.numbers')";
    assert_eq!(row(&mut set.connect("root"), ADD), "200");
    fill(&set, 1);
    let role = set.work_as_another("root");
    for name in ["root", "branch"] {
        lead_astray(&set, name);
    }
    let nothing_is_caught = |what: &str| {
        for name in ["root", "branch"] {
            let said = set.said(name);
            assert_eq!(row(&mut set.connect(name), CAUGHT), "f", "{name}: {what}: {said}");
        }
    };

    // Copies, and foreign keys that come back.
    let root_worker = set.start("root", None);
    let mut worker = set.start("branch", None);
    set.await_sync("root", "branch");
    assert_same(&set);
    const KEYS: &str = "select count(*) from pg_constraint
                         where conrelid = 'app.child'::regclass and contype = 'f' and convalidated";
    set.await_answer("root", "branch", KEYS, "1");
    set.await_answer("root", "branch", "select count(*) from londiste.seq_info", "1");
    assert_eq!(row(&mut set.connect("branch"), ADD), "200");
    nothing_is_caught("copy");

    // Changes, many in a batch and each by itself.
    let mut root = set.connect("root");
    fill(&set, 11);
    run(
        &mut root,
        "update app.parent set mood = 'sad', price = 7, bits = b'010' where id % 3 = 0;
         update app.by_name set v = 'changed';
         delete from app.by_name where name operator(app.=) 'name 3';
         update app.by_values set v = 'w' where part > 2; delete from app.by_values where part > 7;
         delete from app.child where id > 15;
         begin;
         insert into app.by_values values ('2025-01-01 00:00+00', 'c', 1.0, '2025-01-01', 'a');
         delete from app.by_values where fixed = 'c';
         insert into app.by_values values ('2025-01-01 00:00+00', 'c ', 1.00, '2025-01-01', 'b');
         commit;
         update app.child set data = null, list = '{}' where id < 5;
         select setval('app.numbers', 4711)",
    );
    set.await_sync("root", "branch");
    assert_same(&set);
    run(&mut root, "truncate app.by_values");
    set.await_sync("root", "branch");
    assert_same(&set);
    nothing_is_caught("replay");

    // Scripts, where all kinds of conditions are met.
    const SCRIPT: &str = "--*-- Local-Table: app.parent\n--*-- Local-Sequence: app.numbers\n\
                          --*-- Local-Destination: app.child\n--*-- Need-Table: app.by_name\n\
                          --*-- Need-Sequence: app.numbers\n--*-- Need-Schema: app\n\
                          --*-- Need-Function: app.f(1)\n\
                          alter table @app.child@ add more int;\n";
    for name in ["root", "branch"] {
        run(
            &mut set.connect(name),
            "create function app.f(int) returns int language sql as 'select 1'",
        );
    }
    let said = set.execute("root", "more.sql", SCRIPT);
    let again = set.execute("root", "more.sql", SCRIPT);
    assert!(again.contains("was run before"), "{said} {again}");
    run(&mut root, "update app.child set more = 1");
    set.await_sync("root", "branch");
    assert_same(&set);
    nothing_is_caught("script");

    // An event that cannot be applied is looked for one by one, and noted.
    let mut branch = set.connect("branch");
    run(
        &mut branch,
        "set session_replication_role = replica; insert into app.by_name values ('Name 99', 'x')",
    );
    run(&mut root, "insert into app.by_name values ('name 99', 'y')");
    const NOTED: &str = "select cur_error like '%event %duplicate key%' from pgq_node.local_state
          where consumer_name = 'branch_worker'";
    set.await_answer("root", "branch", NOTED, "t");
    run(&mut branch, "delete from app.by_name where name operator(app.=) 'name 99'");
    set.await_sync("root", "branch");
    assert_same(&set);
    nothing_is_caught("an event that cannot be applied");

    // A second worker, and one that begins anew with a copy.
    let mut second = set.start("branch", None);
    let waits = || set.said("branch").contains("waits for another worker of queue");
    assert!(wait_until(PATIENCE, waits), "{}", set.said("branch"));
    second.kill();
    worker.kill();
    run(
        &mut branch,
        "select londiste.local_set_table_state('q', 'app.parent', null, null);
         delete from app.by_name",
    );
    run(&mut branch, "select londiste.local_set_table_state('q', 'app.by_name', null, null)");
    fill(&set, 21);
    let worker = set.start("branch", None);
    set.await_sync("root", "branch");
    assert_same(&set);
    set.await_answer("root", "branch", KEYS, "1");
    nothing_is_caught("resync");

    // What else the root says: places of nodes, and what is removed.
    run(
        &mut root,
        "select pgq_node.register_location('q', 'elsewhere', 'dbname=elsewhere', false);
         select londiste.local_remove_seq('q', 'app.numbers');
         select londiste.local_remove_table('q', 'app.child')",
    );
    set.await_sync("root", "branch");
    const PLACES: &str =
        "select count(*) from pgq_node.node_location where node_name = 'elsewhere'";
    set.await_answer("root", "branch", PLACES, "1");
    const KNOWN: &str = "select count(*) from londiste.table_info where table_name = 'app.child'";
    set.await_answer("root", "branch", KNOWN, "0");
    nothing_is_caught("what is removed");

    // The doubles are there, and would be taken.
    drop((root_worker, worker));
    for name in ["root", "branch"] {
        let mut bait = set.connect_as(name, &role);
        for bait_sql in ["select 1 = 2", "select 'x'::text", "select now()"] {
            let said = outcome(&mut bait, bait_sql);
            assert!(said.contains("trapped"), "{name}: {bait_sql}: {said}");
        }
        assert_eq!(row(&mut set.connect(name), CAUGHT), "t", "{name}");
    }
}

/// Triggers and scripts are written for the path of the worker's role and database. One script's
/// own is for nobody else, whether it ends well or not.
#[test]
fn scripts_and_triggers_find_the_path_of_the_workers_role() {
    let mut set = Set::new(&[("root", Tree::Ours), ("leaf", Tree::Ours)]);
    set.create("root", "root", None);
    set.create("leaf", "leaf", Some("root"));
    for name in ["root", "leaf"] {
        run(
            &mut set.connect(name),
            "create schema app; create table t (id int primary key, v text);
             create table app.seen (id int, path text);
             create function see() returns trigger language plpgsql as $$
             begin
                 insert into seen values (new.id, current_setting('search_path'));
                 return null;
             end $$;
             create trigger zz_see after insert on t for each row execute function see();
             alter table t enable always trigger zz_see",
        );
        set.attach(name, "public.t", "expect_sync");
    }
    let role = set.work_as_another("root");
    run(&mut set.connect("root"), &format!("alter role {role} set search_path = app, public"));
    run(&mut set.connect("leaf"), TRAP);
    run(&mut set.connect("root"), TRAP);
    let mut root = set.connect("root");
    // All of it in one batch.
    run(&mut root, "update pgq.queue set queue_ticker_paused = true");
    set.execute(
        "root",
        "first.sql",
        "create table first (path text);\n\
                 insert into first values (current_setting('search_path'));\n",
    );
    const STRAYS: &str = "set search_path = trap, pg_catalog;\n";
    set.execute("root", "strays.sql", STRAYS);
    set.execute(
        "root",
        "second.sql",
        "create table second (path text);\n\
                 insert into second values (current_setting('search_path'));\n",
    );
    run(&mut root, "set search_path = app, public; insert into t values (1, 'a')");
    // One that cannot be run yet; on the root nothing is left of it either.
    const FAILS: &str = "set search_path = trap, pg_catalog;\n\
                         do $$ begin if pg_catalog.to_regclass('public.wanted') is null then\n\
                         raise 'not yet'; end if; end $$;\n";
    let (done, said) = set.try_execute("root", "fails.sql", FAILS);
    assert!(!done && said.contains("not yet"), "{said}");
    run(&mut root, "create table public.wanted ()");
    set.execute("root", "fails.sql", FAILS);
    set.execute("root", "third.sql", "create table third ();\n");
    run(&mut root, "insert into t values (2, 'b')");
    run(&mut root, "update pgq.queue set queue_ticker_paused = false");
    let worker = set.start("leaf", None);
    let failed = "select cur_error like '%not yet%' from pgq_node.local_state";
    set.await_answer("root", "leaf", failed, "t");
    let mut leaf = set.connect("leaf");
    run(&mut leaf, "create table public.wanted ()");
    set.await_sync("root", "leaf");
    for name in ["root", "leaf"] {
        let mut here = set.connect(name);
        for (sql, answer) in [
            ("select path from app.first", "app, public"),
            ("select path from app.second", "app, public"),
            ("select pg_catalog.to_regclass('app.third')", "app.third"),
            (
                "select string_agg(id || ' ' || path, '; ' order by id) from app.seen",
                "1 app, public; 2 app, public",
            ),
            (CAUGHT, "f"),
        ] {
            assert_eq!(row(&mut here, sql), answer, "{name}: {sql}");
        }
    }
    set.assert_same("root", "leaf", "select * from t order by id");
    drop(worker);
}
