//! What an administrator does from psql: tables and sequences by patterns, scripts, pauses.

use pgq_tests::query::{outcome, row, rows, run};

use crate::londiste::{add_node, root};

#[test]
fn tables_and_sequences_come_and_go_by_patterns() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create schema s; create schema \"s%\";
         create table ab (id serial primary key); create table a_b (id serial primary key);
         create table s.axb (id int primary key);
         create table \"s%\".\"a\\b\" (id int primary key)",
    );
    let mut all = |sql: &str| rows(&mut client, &format!("select * from londiste.{sql}"));
    // What LIKE knows means itself, and names come in their order.
    assert_eq!(
        all("add_tables('q', 'a_b')"),
        ["public.a_b|200|Table added: public.a_b"],
        "no letter stands for an underscore"
    );
    assert_eq!(all("add_tables('q', 's%.a\\?')"), ["s%.a\\b|200|Table added: s%.a\\b"]);
    assert_eq!(
        all("add_tables('q', '*.a?b')"),
        ["s.axb|200|Table added: s.axb"],
        "those that are attached are left out"
    );
    assert_eq!(all("add_tables('q', '*.*')"), ["public.ab|200|Table added: public.ab"]);
    assert_eq!(
        all("add_sequences('q', '*')"),
        [
            "public.a_b_id_seq|200|Sequence added: public.a_b_id_seq",
            "public.ab_id_seq|200|Sequence added: public.ab_id_seq",
        ]
    );
    assert_eq!(
        all("remove_sequences('q', 'ab*')"),
        ["public.ab_id_seq|200|Sequence removed: public.ab_id_seq"]
    );
    assert_eq!(
        all("remove_tables('q', '*.a*b')"),
        [
            "public.a_b|200|Table removed: public.a_b",
            "public.ab|200|Table removed: public.ab",
            "s%.a\\b|200|Table removed: s%.a\\b",
            "s.axb|200|Table removed: s.axb",
        ]
    );
    // Options are those of local_add_table, also none.
    assert_eq!(
        all("add_tables('q', 'ab', array['ignore=id', 'no_triggers'])"),
        ["public.ab|200|Table added with no triggers: public.ab"]
    );
    assert_eq!(all("add_tables('q', 'a_b', null)"), ["public.a_b|200|Table added: public.a_b"]);
}

#[test]
fn what_cannot_be_chosen_is_an_error_that_says_so() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id int primary key); create table nokey (id int)");
    for (call, answer) in [
        ("add_tables('q', 'none*')", "ERROR 42704: no table that could be added fits \"none*\""),
        ("add_tables('x', 't')", "ERROR 42704: this database is no node of queue \"x\""),
        ("add_tables(null, 't')", "ERROR 22004: queue must not be null"),
        ("add_tables('q', null)", "ERROR 22004: pattern must not be null"),
        ("add_sequences('q', '*')", "ERROR 42704: no sequence that could be added fits \"*\""),
        ("add_sequences('q', null)", "ERROR 22004: pattern must not be null"),
        ("remove_tables('q', 't')", "ERROR 42704: no table of this node fits \"t\""),
        ("remove_tables('q', null)", "ERROR 22004: pattern must not be null"),
        ("remove_sequences('q', 't')", "ERROR 42704: no sequence of this node fits \"t\""),
        ("remove_sequences(null, 't')", "ERROR 22004: queue must not be null"),
        ("resync('q', 't')", "ERROR 42704: no table of this node fits \"t\""),
        ("resync('x', 't')", "ERROR 42704: this database is no node of queue \"x\""),
        ("pause('x')", "404|No such node: x"),
        ("pause(null)", "ERROR 22004: queue must not be null"),
        ("resume('x')", "404|No such node: x"),
        ("execute('q', null, 'select 1')", "ERROR 22004: queue, script and sql must not be null"),
        ("execute('x', 'f', 'select 1')", "ERROR 42704: queue does not exist: x"),
    ] {
        assert_eq!(
            outcome(&mut client, &format!("select * from londiste.{call}")),
            answer,
            "{call}"
        );
    }
    for (call, answer) in [
        ("wait_sync(null)", "ERROR 22004: queue must not be null"),
        ("wait_sync('x')", "ERROR 42704: this database is no node of queue \"x\""),
    ] {
        assert_eq!(outcome(&mut client, &format!("call londiste.{call}")), answer, "{call}");
    }
    run(&mut client, "select londiste.add_tables('q', 't')");
    assert_eq!(
        outcome(&mut client, "select * from londiste.resync('q', 't')"),
        "ERROR 55000: this node is the root of queue \"q\""
    );
    assert_eq!(
        outcome(&mut client, "begin; call londiste.wait_sync('q')"),
        "ERROR 2D000: invalid transaction termination"
    );
    run(&mut client, "rollback");
}

#[test]
fn a_script_runs_once_as_its_caller_and_is_sent_on() {
    let (database, mut client) = root();
    run(
        &mut client,
        "create table t (id int primary key); create schema s;
         select londiste.add_tables('q', 't'); set search_path = s, public",
    );
    let execute = |client: &mut postgres::Client, name: &str, sql: &str| {
        outcome(client, &format!("select * from londiste.execute('q', '{name}', $${sql}$$)"))
    };
    let events = "select ev_type, ev_data, ev_extra1 from pgq.event_template
                   where ev_type <> 'londiste.add-table' order by ev_id";
    let script = "create table made (id int); insert into t values (1); alter table t add v int";
    assert_eq!(execute(&mut client, "one", script), "200|Execute finished: one");
    assert_eq!(row(&mut client, "select 's.made'::regclass"), "made");
    assert_eq!(row(&mut client, "show session_replication_role"), "origin");
    // The row is each node's script's.
    assert_eq!(rows(&mut client, events), [format!("EXECUTE|{script}|one")]);
    assert_eq!(
        execute(&mut client, "one", "select 1"),
        "201|EXECUTE: \"one\" already applied, skipping"
    );
    // What fails leaves nothing.
    for (sql, answer) in [
        ("insert into t values (2); select 1/0", "ERROR 22012: division by zero"),
        ("insert into t values (2); commit", "ERROR 0A000: "),
        ("--*-- Local-Table: t\nselect 1", "ERROR 0A000: script \"two\" has conditions"),
        (
            "insert into t values (2); set local role pgq_admin",
            "ERROR 55000: script \"two\" leaves",
        ),
        (
            "create table d (id int unique deferrable initially deferred);
             insert into d values (1), (1)",
            "ERROR 23505: ",
        ),
    ] {
        let said = execute(&mut client, "two", sql);
        assert!(said.starts_with(answer), "{sql}: {said}");
    }
    assert_eq!(row(&mut client, "select count(*) from t"), "1");
    assert_eq!(rows(&mut client, events).len(), 1);
    assert_eq!(
        row(&mut client, "select current_user, count(*) from londiste.applied_execute"),
        "postgres|1"
    );

    // With no more rights than the caller has.
    let suffix = database.name().to_owned();
    run(&mut client, &format!("create role writes_{suffix} login in role londiste_writer"));
    let mut writer = database.connect_as(&format!("writes_{suffix}"));
    assert!(
        execute(&mut writer, "three", "drop table t").starts_with("ERROR 42501: must be owner")
    );
    assert_eq!(execute(&mut writer, "three", "select 1"), "200|Execute finished: three");
    run(&mut client, &format!("create role reads_{suffix} login in role londiste_reader"));
    let mut reader = database.connect_as(&format!("reads_{suffix}"));
    for call in [
        "select londiste.execute('q', 'four', 'select 1')",
        "select londiste.add_tables('q', '*')",
        "select londiste.add_sequences('q', '*')",
        "select londiste.remove_tables('q', '*')",
        "select londiste.remove_sequences('q', '*')",
        "select londiste.resync('q', '*')",
        "select londiste.pause('q')",
        "select londiste.resume('q')",
        "call londiste.wait_sync('q')",
    ] {
        let said = outcome(&mut reader, call);
        assert!(said.starts_with("ERROR 42501: permission denied for "), "{call}: {said}");
    }
    // Where the node is not the root.
    add_node(&mut client, "leaf", "leaf", None);
    assert_eq!(
        outcome(&mut client, "select * from londiste.execute('leaf', 'f', 'select 1')"),
        "401|Node is not root node: leaf"
    );
    for role in ["writes", "reads"] {
        run(&mut client, &format!("drop owned by {role}_{suffix}; drop role {role}_{suffix}"));
    }
}

#[test]
fn a_worker_is_told_to_rest_and_to_go_on() {
    let (_database, mut client) = root();
    for (call, answer) in [
        ("pause", "200|Consumer q_w tagged as paused"),
        ("pause", "201|Consumer q_w already paused"),
        ("resume", "200|Consumer q_w tagged as resumed"),
    ] {
        assert_eq!(row(&mut client, &format!("select * from londiste.{call}('q')")), answer);
        let paused = "select paused from londiste.status() where is_here";
        assert_eq!(row(&mut client, paused), if call == "pause" { "t" } else { "f" });
    }
}
