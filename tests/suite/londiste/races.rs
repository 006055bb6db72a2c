//! Sessions that do the same at the same time, or get into each other's way.

use std::thread;

use pgq_tests::race::race;
use pgq_tests::{PATIENCE, Tree, wait_until};

use crate::londiste::{add_node, database_on, root};
use pgq_tests::query::{outcome, patient, row, rows, run};

#[test]
fn tables_come_and_go_while_they_are_written_to() {
    let (database, mut client) = root();
    run(
        &mut client,
        "create table t (id serial primary key, d text); create table u (id serial primary key)",
    );
    let errors = race(
        &database,
        120,
        &[],
        &[
            &[
                "select londiste.local_add_table('q', 't')",
                "select londiste.local_add_seq('q', 't_id_seq')",
                "select londiste.local_remove_table('q', 't')",
            ],
            &[
                "select londiste.local_add_table('q', 't', array['backup'], 'handler=x')",
                "select londiste.local_change_handler('q', 't', array['tgflags=Q'], null)",
                "select londiste.global_add_table('q', 'u')",
                "select londiste.local_remove_table('q', 't')",
                "select londiste.global_remove_table('q', 'u')",
            ],
            &[
                "insert into t (d) values ('x')",
                "update t set d = 'y' where id % 7 = 0",
                "delete from t where id % 3 = 0",
            ],
            &[
                "select londiste.root_check_seqs('q')",
                "select londiste.local_set_table_state('q', 't', null, 'ok')",
                "select pgq.ticker('q')",
                "select * from londiste.get_table_list('q')",
                "select londiste.periodic_maintenance()",
            ],
        ],
    );
    assert_eq!(errors, Vec::<String>::new());
}

/// The sequences of a table go in another order than that in which values of all are published.
#[test]
fn tables_with_two_sequences_go_while_their_values_are_published() {
    let (database, mut client) = root();
    run(
        &mut client,
        "create table t (a serial primary key, b serial);
         create sequence grows increment 40000; select londiste.local_add_table('q', 't')",
    );
    // Those of the table were added the other way round, and each time values are published of all.
    let add = "select londiste.local_add_table('q', 't'); select londiste.local_add_seq('q', s)
                 from unnest(array['t_b_seq', 't_a_seq']) s";
    let publish = "select setval('t_a_seq', n), setval('t_b_seq', n) from nextval('grows') n;
                   select londiste.root_check_seqs('q')";
    let errors = race(
        &database,
        400,
        &[],
        &[&[add, "select londiste.local_remove_table('q', 't')"], &[publish], &[publish]],
    );
    assert_eq!(errors, Vec::<String>::new());
}

/// It would deadlock with who locks the rows in another order, as a node does that goes.
#[test]
fn who_publishes_values_waits_for_nobody() {
    let (database, mut client) = root();
    run(
        &mut client,
        "create sequence a; create sequence b; create sequence c;
         select londiste.local_add_seq('q', s) from unnest(array['a', 'b', 'c']) s;
         select setval(s::regclass, 50000) from unnest(array['a', 'b', 'c']) s",
    );
    let mut other = database.connect();
    run(&mut other, "begin; select from londiste.seq_info where seq_name = 'public.b' for update");
    run(&mut client, "set lock_timeout = '90 s'");
    let publish = "select ret_code from londiste.root_check_seqs('q')";
    let values = "select seq_name, last_value from londiste.get_seq_list('q')";
    assert_eq!(outcome(&mut client, publish), "100");
    assert_eq!(rows(&mut client, values), ["public.a|80000", "public.b|30001", "public.c|80000"]);
    run(&mut other, "rollback");
    assert_eq!(outcome(&mut client, publish), "100");
    assert_eq!(rows(&mut client, values), ["public.a|80000", "public.b|80000", "public.c|80000"]);
}

/// Each call changes rows of all three queues.
#[test]
fn merged_tables_come_and_go_by_all_their_queues_at_once() {
    let (database, mut client) = database_on(Tree::Ours);
    add_node(&mut client, "c", "root", None);
    run(&mut client, "create table t (id integer primary key)");
    for part in ["p1", "p2", "p3"] {
        add_node(&mut client, part, "leaf", Some("c"));
        run(&mut client, &format!("select londiste.global_add_table('{part}', 't')"));
    }
    let calls = ["p1", "p2", "p3"].map(|part| {
        [
            format!("select londiste.local_add_table('{part}', 't', array['merge_all'])"),
            format!("select londiste.local_remove_table('{part}', 't')"),
            "select londiste.local_remove_table('c', 't')".to_owned(),
            format!("select londiste.global_add_table('{part}', 't')"),
        ]
    });
    let calls = calls.each_ref().map(|calls| calls.each_ref().map(String::as_str));
    let errors = race(&database, 120, &[], &[&calls[0], &calls[1], &calls[2]]);
    assert_eq!(errors, Vec::<String>::new());
}

#[test]
fn of_two_who_run_a_script_one_does_and_the_other_waits_for_it() {
    let (database, mut client) = root();
    let call = "select ret_code from londiste.execute_start('q', 'f.sql', 'select 1', true)";
    for (end, second) in [("rollback", "200"), ("commit", "201")] {
        run(&mut client, "begin");
        assert_eq!(row(&mut client, call), "200");
        let mut other = patient(database.connect());
        let waiting = thread::spawn(move || {
            run(&mut other, "begin");
            let answer = outcome(&mut other, call);
            run(&mut other, "rollback");
            answer
        });
        let mut watcher = database.connect();
        let is_blocked = "select count(*) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'";
        assert!(wait_until(PATIENCE, || row(&mut watcher, is_blocked) == "1"));
        run(&mut client, end);
        assert_eq!(waiting.join().unwrap(), second);
    }
    assert_eq!(rows(&mut client, "select execute_file from londiste.applied_execute"), ["f.sql"]);
}
