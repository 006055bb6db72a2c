//! Who may call what.

use pgq_tests::Cluster;

use crate::londiste::root;
use pgq_tests::query::{outcome, row, run};

#[test]
fn roles_can_do_their_work_and_no_more() {
    let (database, mut client) = root();
    let suffix = database.name().to_owned();
    run(&mut client, "create table t (id integer primary key)");
    for (user, role) in [
        ("reads", "londiste_reader"),
        ("writes", "londiste_writer"),
        ("rules", "pgq_admin"),
        ("stranger", "pgq_reader"),
    ] {
        run(&mut client, &format!("create role {user}_{suffix} login in role {role}"));
    }
    run(
        &mut client,
        &format!(
            "create schema own authorization writes_{suffix};
             create table own.t (id serial primary key); alter table own.t owner to writes_{suffix}"
        ),
    );
    let answer = |user: &str, call: &str| {
        let mut session = database.connect_as(&format!("{user}_{suffix}"));
        let answer = outcome(&mut session, &format!("select * from {call}"));
        if answer.starts_with("ERROR 42501: permission denied") { "no".to_owned() } else { answer }
    };
    // A worker does all its work as londiste_writer and owner of the tables.
    for (call, expected) in [
        ("londiste.local_add_table('q', 'own.t')", "200|Table added: own.t"),
        ("londiste.local_add_seq('q', 'own.t_id_seq')", "200|Sequence added: own.t_id_seq"),
        (
            "londiste.local_change_handler('q', 'own.t', array['tgflags=Q'], null)",
            "200|Handler changed for table: own.t",
        ),
        (
            "londiste.local_set_table_state('q', 'own.t', null, 'ok')",
            "200|Table own.t state set to 'ok'",
        ),
        ("londiste.local_show_missing('q')", "r|public.t"),
        ("londiste.execute_start('q', 'f', 'select 1', true)", "200|Executing: f"),
        ("londiste.execute_finish('q', 'f')", "200|Execute finished: f"),
        ("londiste.root_check_seqs('q')", "100|Sequences updated"),
        ("londiste.create_partition('own.t', 'own.p_2020', null, null, null, null)", "1"),
        ("londiste.drop_obsolete_partitions('own.t', '1 day', 'year')", "own.p_2020"),
        ("londiste.set_session_replication_role('replica', false)", ""),
        ("londiste.local_remove_table('q', 'own.t')", "200|Table removed: own.t"),
    ] {
        assert_eq!(answer("writes", call), expected, "{call}");
        let may = call.starts_with("londiste.root_check_seqs");
        assert_eq!(answer("rules", call), if may { expected } else { "no" }, "{call}");
        assert_eq!(answer("reads", call), "no", "{call}");
        assert_eq!(answer("stranger", call), "no", "{call}");
    }
    // But it cannot take a table that is somebody else's.
    assert_eq!(answer("writes", "londiste.local_add_table('q', 't')"), "no");

    assert_eq!(answer("reads", "londiste.get_table_list('q')"), "");
    assert_eq!(answer("reads", "londiste.get_seq_list('q')"), "");
    for (call, expected) in [
        ("(select string_agg(node_name, ' ') from londiste.status()) s", "me up"),
        ("(select string_agg(state, ' ') from londiste.table_status()) s", "∅"),
        ("(select count(*) from londiste.worker_status()) s", "0"),
    ] {
        assert_eq!(answer("reads", call), expected, "{call}");
        assert_eq!(answer("writes", call), expected, "{call}");
        assert_eq!(answer("rules", call), "no", "{call}");
        assert_eq!(answer("stranger", call), "no", "{call}");
    }
    assert_eq!(answer("rules", "londiste.periodic_maintenance()"), "0");
    assert_eq!(answer("stranger", "londiste.get_table_list('q')"), "no");
    assert_eq!(answer("stranger", "londiste.version()"), "4.0");
    assert_eq!(answer("stranger", "londiste.find_column_types('t')"), "k");
    assert_eq!(answer("stranger", "londiste.table_info"), "");

    run(&mut client, "drop schema own cascade");
    for user in ["reads", "writes", "rules", "stranger"] {
        run(&mut client, &format!("drop owned by {user}_{suffix}; drop role {user}_{suffix}"));
    }
}

/// Managed servers have superusers who may not make roles, and databases that are restored without
/// theirs.
#[test]
fn who_may_not_make_the_roles_goes_on_without_them() {
    let cluster = Cluster::builder().set("fsync", "off").start();
    let mut client = cluster.connect("postgres");
    run(
        &mut client,
        "create extension pgq; create extension pgq_node; create extension londiste;
         drop owned by londiste_reader; drop role londiste_reader;
         create role weak login; grant execute on function londiste.upgrade_schema() to weak",
    );
    let upgrade = "select londiste.upgrade_schema()";
    assert_eq!(row(&mut cluster.connect_as("postgres", "weak"), upgrade), "0");
    let roles = "select count(*) from pg_roles where rolname like 'londiste\\_%'";
    assert_eq!(row(&mut client, roles), "1");
    assert_eq!(row(&mut client, upgrade), "1");
    assert_eq!(row(&mut client, roles), "2");
}
