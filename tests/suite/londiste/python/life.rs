//! The life of a cascade: a root, a branch and a leaf, until the branch has taken over.

use pgq_tests::Cluster;

use crate::londiste::python::{Node, Program, tick_fast};
use pgq_tests::query::{row, rows, run};

#[test]
fn a_cascade_lives_from_its_nodes_to_the_takeover() {
    live([Program::Python; 3]);
}

#[test]
fn it_lives_by_our_program() {
    live([Program::Ours; 3]);
}

#[test]
fn it_lives_by_our_program_and_pythons() {
    live([Program::Ours, Program::Ours, Program::Python]);
}

#[test]
fn it_lives_by_pythons_program_and_ours() {
    live([Program::Python, Program::Ours, Program::Ours]);
}

fn live(programs: [Program; 3]) {
    let cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.ticker_period", "50ms")
        .set("fsync", "off")
        .start();
    let [as_root, as_branch, as_leaf] = programs;
    let mut root = Node::new(&cluster, "root", as_root);
    let mut branch = Node::new(&cluster, "branch", as_branch);
    let mut leaf = Node::new(&cluster, "leaf", as_leaf);
    root.londiste(&["create-root", "root", &root.location()]);
    let mut client = root.connect();
    tick_fast(&mut client);
    let provider = format!("--provider={}", root.location());
    branch.londiste(&["create-branch", "branch", &branch.location(), &provider]);
    leaf.londiste(&["create-leaf", "leaf", &leaf.location(), &provider]);
    for node in [&mut root, &mut branch, &mut leaf] {
        node.start_worker();
    }

    // Tables, one with a foreign key on the other, and a sequence; rows come while they are copied.
    let tables = "create table t (id serial primary key, d text);
                  create table u (id integer primary key, t integer references t)";
    for node in [&root, &branch, &leaf] {
        run(&mut node.connect(), tables);
    }
    run(
        &mut client,
        "insert into t (d) select 'row ' || i from generate_series(1, 1000) i;
         insert into u select i, i from generate_series(1, 100) i",
    );
    for node in [&root, &branch, &leaf] {
        node.londiste(&["add-seq", "t_id_seq"]);
        node.londiste(&["add-table", "t", "u"]);
    }
    run(
        &mut client,
        "update t set d = d || '!' where id % 3 = 0; delete from u where id % 7 = 0; delete from t where id > 990;
         insert into t (d) values (null), (E'a\\\\b''c\\n'), ('ü')",
    );
    for node in [&branch, &leaf] {
        node.wait_until_in_sync();
    }
    run(&mut client, "update u set t = 1; delete from t where id = 500; truncate u");
    run(&mut client, "insert into u values (1, 2), (3, 501)");
    for node in [&branch, &leaf] {
        for table in ["t", "u"] {
            node.wait_for_rows_of(&root, table);
        }
        // The key is back when both tables are in sync.
        node.wait_for("select count(*) from londiste.pending_fkeys", "0");
        node.wait_for("select convalidated from pg_constraint where conname = 'u_t_fkey'", "t");
        node.wait_for("select last_value >= 30001 from t_id_seq", "t");
    }
    let mut session = leaf.connect();
    let denied = session.batch_execute("insert into t (d) values ('no')").unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "55000", "{denied}");

    // A row that went wrong is found, and put right.
    assert!(leaf.londiste(&["compare", "t"]).contains("checksum"));
    run(&mut session, "set session_replication_role = replica");
    run(&mut session, "update t set d = 'wrong' where id = 200");
    assert_eq!(leaf.output(&["compare", "t"]).status.code(), Some(1));
    match as_leaf {
        Program::Python => {
            assert!(leaf.londiste(&["repair", "t", "--apply"]).contains("1 updates"));
        }
        // It does not repair.
        Program::Ours => {
            leaf.londiste(&["resync", "t"]);
            leaf.wait_until_in_sync();
        }
    }
    leaf.wait_for_rows_of(&root, "t");

    // A script, and what is written after it.
    let script = root.ini().with_file_name("more.sql");
    std::fs::write(
        &script,
        "--*-- Local-Table: public.t\nalter table @public.t@ add column more integer;\n",
    )
    .unwrap();
    root.londiste(&["execute", script.to_str().unwrap()]);
    run(&mut client, "insert into t (d, more) values ('new', 7)");
    for node in [&branch, &leaf] {
        node.wait_for("select d, more from t where more is not null", "new|7");
        node.wait_for("select execute_file from londiste.applied_execute", "more.sql");
    }

    // A table is copied anew, and one is gone everywhere.
    run(&mut session, "delete from t where id < 100");
    leaf.londiste(&["resync", "t"]);
    root.londiste(&["remove-table", "u"]);
    for node in [&branch, &leaf] {
        node.wait_for(
            "select string_agg(table_name, ' ') from londiste.get_table_list('rep')",
            "public.t",
        );
        node.wait_for(
            "select count(*) from pg_trigger where tgrelid = 'u'::regclass and tgname ~ 'londiste'",
            "0",
        );
    }
    leaf.wait_until_in_sync();
    leaf.wait_for_rows_of(&root, "t");

    // The branch takes over, and the old root follows it.
    branch.londiste(&["takeover", "root", "--all"]);
    let mut client = branch.connect();
    tick_fast(&mut client);
    assert_eq!(row(&mut client, "select node_type from pgq_node.get_node_info('rep')"), "root");
    run(&mut client, "insert into t (d) values ('after')");
    assert!(row(&mut client, "select max(id) > 30000 from t where d = 'after'") == "t");
    for node in [&root, &leaf] {
        node.wait_for_rows_of(&branch, "t");
    }
    let status = branch.londiste(&["status"]);
    assert!(!status.contains("ERR") && status.contains("Tables: 1/0/0"), "{status}");

    leaf.londiste(&["drop-node", "leaf"]);
    // Those of a foreign key are there, unless it was dropped for the second copy and its other
    // table was removed before it came back.
    let triggers =
        "select tgname from pg_trigger where tgrelid = 't'::regclass and not tgisinternal";
    assert_eq!(rows(&mut session, triggers), Vec::<String>::new());
    assert_eq!(rows(&mut session, "select * from londiste.table_info"), Vec::<String>::new());
}
