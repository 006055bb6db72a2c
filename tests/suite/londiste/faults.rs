//! What upstream's 3.8 does wrong, and ours does not. Triggers and sequences have files of their
//! own.

use pgq_tests::Tree;
use postgres::Client;

use crate::londiste::{add_node, database_on, root};
use pgq_tests::query::{row, rows, run};

#[test]
fn columns_of_the_primary_key_are_found_by_column() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (gone integer, a integer, b integer, c integer, primary key (c, b) include (a));
         alter table t drop column gone;
         create table u (x integer, id integer primary key)",
    );
    assert_eq!(
        row(&mut client, "select londiste.find_column_types('t'), londiste.find_column_types('u')"),
        "vkk|vk"
    );
}

/// Upstream looks for the table's name on the queue, which is another table's here.
#[test]
fn a_renamed_table_that_is_removed_in_mid_copy_is_emptied_and_gets_its_indexes() {
    let (_database, mut client) = database_on(Tree::Ours);
    add_node(&mut client, "l", "leaf", None);
    run(
        &mut client,
        "create table mine (id serial primary key, d text); create table name (id serial primary key);
         insert into mine (d) values ('half'); insert into name values (1);
         select londiste.global_add_table('l', 'name'), londiste.global_update_seq('l',
             'mine_id_seq', 9),
                londiste.global_update_seq('l', 'name_id_seq', 9);
         select londiste.local_add_table('l', 'name', null, null, 'mine');
         select londiste.local_add_seq('l', 'mine_id_seq'), londiste.local_add_seq('l',
             'name_id_seq');
         select londiste.local_set_table_state('l', 'name', null, 'in-copy');
         select londiste.local_set_table_struct('l', 'name', 'create index again on mine (d)')",
    );
    assert_eq!(
        row(&mut client, "select * from londiste.local_remove_table('l', 'name')"),
        "200|Table removed: public.name"
    );
    assert_eq!(
        row(
            &mut client,
            "select (select count(*) from mine), (select count(*) from name), to_regclass('again')"
        ),
        "0|1|again"
    );
    assert_eq!(
        rows(&mut client, "select * from londiste.get_seq_list('l')"),
        ["public.mine_id_seq|9|f", "public.name_id_seq|9|t"]
    );
    assert_eq!(
        row(&mut client, "select * from londiste.get_table_list('l')"),
        "public.name|f|∅|∅|∅|∅|∅|0|∅"
    );
}

/// Everything that adding a table could have changed.
fn all_state(client: &mut Client) -> Vec<String> {
    let mut state = rows(client, "select * from londiste.table_info order by 1");
    state.extend(rows(client, "select tgrelid, tgname from pg_trigger order by 1, 2"));
    state.extend(rows(client, "select ev_type, ev_data from pgq.event_template order by ev_id"));
    state
}

/// A caller at psql commits what python londiste rolls back.
#[test]
fn a_table_that_is_refused_is_not_half_added() {
    let (_database, mut client) = database_on(Tree::Ours);
    add_node(&mut client, "c", "root", None);
    add_node(&mut client, "p1", "leaf", Some("c"));
    add_node(&mut client, "p2", "leaf", Some("c"));
    run(
        &mut client,
        "create table t (id integer primary key); create table u (id integer primary key);
         create trigger one before insert on u for each row execute function pgq.logutriga('z',
             'SKIP');
         select londiste.global_add_table(p, t) from unnest(array['p1', 'p2']) p,
             unnest(array['t', 'u']) t",
    );
    let before = all_state(&mut client);
    for (call, code) in [
        ("'p1', 't'", "405"),
        ("'p1', 't', array['skip', 'merge_all']", "403"),
        ("'p1', 'u', array['merge_all']", "403"),
        ("'p1', 't', array['merge_all', 'no_merge']", "405"),
    ] {
        let call = format!("select ret_code from londiste.local_add_table({call})");
        assert_eq!(row(&mut client, &call), code, "{call}");
        assert_eq!(all_state(&mut client), before, "{call}");
    }
    assert_eq!(
        row(
            &mut client,
            "select ret_code from londiste.local_add_table('p1', 't', array['merge_all'])"
        ),
        "200"
    );
}

/// Upstream's definitions name the other table as the search path of whoever drops the key has it.
#[test]
fn foreign_keys_are_restored_whatever_the_search_path() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create schema a; create schema b;
         create table a.t (id integer primary key); create table b.t (id integer primary key);
         create table a.f (id integer primary key, t integer references a.t)",
    );
    run(&mut client, "set search_path = a");
    assert_eq!(row(&mut client, "select londiste.drop_table_fkey('a.f', 'f_t_fkey')"), "1");
    run(&mut client, "set search_path = b");
    assert_eq!(row(&mut client, "select londiste.restore_table_fkey('a.f', 'f_t_fkey')"), "");
    assert_eq!(
        row(
            &mut client,
            "select confrelid::regclass from pg_constraint where conname = 'f_t_fkey'"
        ),
        "a.t"
    );
}

#[test]
fn a_foreign_key_comes_back_as_it_was_and_is_not_made_twice() {
    let (_database, mut client) = root();
    run(
        &mut client,
        "create table t (id integer primary key); create table f (id integer primary key);
         insert into f values (1);
         alter table f add constraint loose foreign key (id) references t not valid",
    );
    let valid = "select convalidated from pg_constraint where conname = 'loose'";
    for lazy in [false, true] {
        // Names without a schema are of public.
        assert_eq!(row(&mut client, "select londiste.drop_table_fkey('f', 'loose')"), "1");
        loop {
            let restore = format!("select londiste.restore_table_fkey('f', 'loose', {lazy})");
            let statement = row(&mut client, &restore);
            if statement.is_empty() {
                break;
            }
            assert!(statement.starts_with("alter table only public.f add"), "{statement}");
            run(&mut client, &statement);
        }
        assert_eq!(row(&mut client, valid), "f");
        assert_eq!(row(&mut client, "select count(*) from londiste.pending_fkeys"), "0");
    }

    // What upstream noted has no schema in it if the search path did not need one.
    for (noted, restored) in [
        ("t(id) NOT VALID", "public.t(id) NOT VALID"),
        ("\"a\"\"(b\"(id)", "public.t(id)"),
        ("s.t(id)", "s.t(id)"),
        ("\"s s\".t(id)", "\"s s\".t(id)"),
    ] {
        let definition = "alter table only public.f add constraint x FOREIGN KEY (id) REFERENCES";
        run(
            &mut client,
            &format!(
                "delete from londiste.pending_fkeys;
                 insert into londiste.pending_fkeys values ('public.f', 'public.t', 'x',
                     '{definition} {noted}')"
            ),
        );
        assert_eq!(
            row(&mut client, "select londiste.restore_table_fkey('f', 'x', true)")
                .trim_end_matches(" not valid"),
            format!("{definition} {restored}")
        );
    }
    run(&mut client, "delete from londiste.pending_fkeys");

    // Somebody has made it again by hand.
    run(&mut client, "select londiste.drop_table_fkey('f', 'loose')");
    run(&mut client, "alter table f add constraint loose foreign key (id) references t not valid");
    assert_eq!(row(&mut client, "select londiste.restore_table_fkey('f', 'loose')"), "");
    assert_eq!(row(&mut client, "select count(*) from londiste.pending_fkeys"), "0");
    // A key with the same name on another table is another key.
    assert_eq!(row(&mut client, "select londiste.drop_table_fkey('t', 'loose')"), "0");
}

/// A root's worker restores nothing, and nothing at all applies what is merged into a branch.
#[test]
fn a_foreign_key_is_restored_by_a_queue_whose_worker_applies() {
    let (_database, mut client) = database_on(Tree::Ours);
    for (queue, kind, combined) in [
        ("a", "root", None),
        ("l", "leaf", None),
        ("cb", "branch", None),
        ("d", "leaf", Some("cb")),
    ] {
        add_node(&mut client, queue, kind, combined);
    }
    run(
        &mut client,
        "insert into londiste.table_info (queue_name, table_name, local, merge_state)
         select q, t, true, 'ok' from unnest(array['a', 'd', 'l']) q, unnest(array['public.f',
             'public.t']) t;
         insert into londiste.pending_fkeys values ('public.f', 'public.t', 'x', 'y')",
    );
    assert_eq!(
        rows(
            &mut client,
            "select n.queue_name from pgq_node.node_info n, londiste.get_valid_pending_fkeys(n.queue_name)"
        ),
        ["l"]
    );
}
