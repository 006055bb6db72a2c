//! Values of sequences, and sequences that are not as they should be.

use pgq_tests::Tree;

use crate::londiste::{add_node, database_on, root};
use pgq_tests::query::{outcome, row, rows, run};

#[test]
fn a_sequence_is_published_and_followed_no_further_than_its_end() {
    let (_database, mut client) = root();
    add_node(&mut client, "b", "branch", None);
    run(&mut client, "create sequence small as smallint; select setval('small', 9000)");
    assert_eq!(
        row(&mut client, "select * from londiste.local_add_seq('q', 'small')"),
        "200|Sequence added: public.small"
    );
    let published = "select ev_data from pgq.event_template where ev_type = 'londiste.update-seq'";
    assert_eq!(rows(&mut client, published), ["32767"]);
    // Nothing further can be said of it, and nothing fails.
    run(&mut client, "select setval('small', 32767); select londiste.root_check_seqs('q')");
    assert_eq!(rows(&mut client, published), ["32767"]);
    run(&mut client, "create sequence big; select setval('big', 9223372036854775000)");
    run(&mut client, "select londiste.local_add_seq('q', 'big')");
    assert_eq!(rows(&mut client, published), ["32767", "9223372036854775807"]);

    // A node whose sequence ends earlier goes on, and gives out nothing twice.
    run(&mut client, "create sequence below as smallint");
    run(&mut client, "select londiste.global_update_seq('b', 'below', 5)");
    run(&mut client, "select londiste.local_add_seq('b', 'below')");
    assert_eq!(
        row(&mut client, "select * from londiste.global_update_seq('b', 'below', 60001)"),
        "200|Sequence updated"
    );
    assert_eq!(row(&mut client, "select last_value from below"), "32767");
    assert!(outcome(&mut client, "select nextval('below')").starts_with("ERROR 2200H"));
}

#[test]
fn a_sequence_that_is_gone_does_not_hold_up_the_others() {
    let (_database, mut client) = root();
    run(&mut client, "create sequence a; create sequence b");
    run(&mut client, "select londiste.local_add_seq('q', 'a'), londiste.local_add_seq('q', 'b')");
    run(&mut client, "drop sequence a; select setval('b', 50000)");
    assert_eq!(
        row(&mut client, "select * from londiste.root_check_seqs('q')"),
        "100|Sequences updated"
    );
    assert_eq!(
        rows(&mut client, "select * from londiste.get_seq_list('q')"),
        ["public.a|30001|t", "public.b|80000|t"]
    );

    let (_database, mut branch) = database_on(Tree::Ours);
    add_node(&mut branch, "q", "branch", None);
    run(&mut branch, "create sequence a; select londiste.global_update_seq('q', 'a', 7)");
    run(&mut branch, "select londiste.local_add_seq('q', 'a'); drop sequence a");
    assert_eq!(
        row(&mut branch, "select * from londiste.global_update_seq('q', 'a', 8)"),
        "200|Sequence updated"
    );
    assert_eq!(row(&mut branch, "select * from londiste.get_seq_list('q')"), "public.a|8|t");
}

#[test]
fn maintenance_may_read_what_its_owner_has_added_and_names_what_it_may_not() {
    let (database, mut client) = root();
    let owner = format!("owner_{}", database.name());
    run(
        &mut client,
        &format!(
            "create role {owner} login in role londiste_writer; grant all on schema public to {owner};
             create sequence hidden; select londiste.local_add_seq('q', 'hidden');
             revoke select on sequence hidden from pgq_admin"
        ),
    );
    let mut session = database.connect_as(&owner);
    run(&mut session, "create sequence mine");
    assert_eq!(
        row(&mut session, "select * from londiste.local_add_seq('q', 'mine')"),
        "200|Sequence added: public.mine"
    );
    run(&mut client, "select setval('mine', 40000), setval('hidden', 40000)");
    run(&mut client, "set role pgq_admin");
    assert_eq!(
        row(&mut client, "select * from londiste.root_check_seqs('q')"),
        "100|Sequences updated"
    );
    run(&mut client, "reset role");
    assert_eq!(
        rows(&mut client, "select * from londiste.get_seq_list('q') order by 1"),
        ["public.hidden|30001|t", "public.mine|70000|t"]
    );
    // So it is on a node that takes over.
    add_node(&mut client, "b", "branch", None);
    run(&mut client, "select londiste.global_update_seq('b', 'mine', 5)");
    run(&mut session, "drop sequence mine; create sequence mine");
    assert_eq!(
        row(&mut session, "select * from londiste.local_add_seq('b', 'mine')"),
        "200|Sequence added: public.mine"
    );
    run(&mut client, "select pgq_node.promote_branch('b'); select setval('mine', 40000)");
    run(&mut client, "set role pgq_admin; select londiste.root_check_seqs('b'); reset role");
    assert_eq!(
        rows(&mut client, "select * from londiste.get_seq_list('b')"),
        ["public.mine|70000|t"]
    );
    run(&mut client, &format!("drop owned by {owner}; drop role {owner}"));
}

#[test]
fn sequences_that_are_added_are_not_missing() {
    let (_database, mut client) = root();
    run(&mut client, "create table t (id serial primary key)");
    let missing = "select * from londiste.local_show_missing('q')";
    assert_eq!(rows(&mut client, missing), ["S|public.t_id_seq", "r|public.t"]);
    run(&mut client, "select londiste.local_add_seq('q', 't_id_seq')");
    assert_eq!(rows(&mut client, missing), ["r|public.t"]);
    // Extension pgq_coop has nothing to replicate, and no more have temporary tables.
    run(
        &mut client,
        "create extension pgq_coop; create table pgq_coop.x (); create temporary table x ()",
    );
    run(&mut client, "select londiste.local_add_table('q', 't')");
    assert_eq!(rows(&mut client, missing), Vec::<String>::new());
}

/// The worker of the server publishes as `pgq_admin`.
#[test]
fn a_sequence_in_a_schema_that_maintenance_may_not_use_is_published_like_the_others() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create schema hidden; create sequence hidden.s; create sequence hidden.fresh start 70000;
         create sequence open;
         select londiste.local_add_seq('q', s) from unnest(array['hidden.s', 'hidden.fresh',
             'open']) s;
         select setval('hidden.s', 50000), setval('open', 60000)",
    );
    run(&mut client, "set role pgq_admin");
    assert_eq!(
        row(&mut client, "select has_schema_privilege('hidden', 'usage')"),
        "f",
        "the test needs a schema that is closed"
    );
    assert_eq!(
        row(&mut client, "select * from londiste.root_check_seqs('q')"),
        "100|Sequences updated"
    );
    run(&mut client, "reset role");
    assert_eq!(
        rows(&mut client, "select * from londiste.get_seq_list('q')"),
        ["hidden.s|80000|t", "hidden.fresh|100000|t", "public.open|90000|t"]
    );
}

/// It was never attached here: what the old root gave out is in the queue, not in the sequence.
#[test]
fn a_sequence_that_a_new_root_attaches_goes_on_where_the_old_root_was() {
    let (_database, mut client) = database_on(Tree::Ours);
    add_node(&mut client, "q", "branch", None);
    run(&mut client, "create sequence s; select londiste.global_update_seq('q', 's', 30001)");
    run(&mut client, "select pgq_node.promote_branch('q')");
    assert_eq!(
        row(&mut client, "select * from londiste.local_add_seq('q', 's')"),
        "200|Sequence added: public.s"
    );
    assert_eq!(row(&mut client, "select nextval('s')"), "30002");
    assert_eq!(row(&mut client, "select * from londiste.get_seq_list('q')"), "public.s|60001|t");
}
