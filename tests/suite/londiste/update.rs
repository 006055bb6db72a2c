//! ALTER EXTENSION londiste UPDATE: state is kept, and catalogs are those of a fresh installation.

use std::process::Command;

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::companions::update::{catalog, offer, offer_upstream};
use crate::londiste::{add_node, database_on};
use crate::pgq::upgrade::released::upstream_version;
use pgq_tests::query::{outcome, row, rows, run};

/// Versions that upstream's own scripts start from, and the one they lead to.
const RELEASED: &str = "3.2 3.2.3 3.2.4 3.4 3.4.1 3.5 3.6 3.7 3.8";

/// Constraints, triggers and members, which the others do not look at.
fn more_of_the_catalog(client: &mut Client) -> Vec<String> {
    let mut facts = catalog(client, "londiste");
    for query in [
        "select conrelid::regclass, conname, pg_get_constraintdef(oid) from pg_constraint
          where connamespace = 'londiste'::regnamespace order by 1::text, 2",
        "select pg_get_triggerdef(oid) from pg_trigger
          where not tgisinternal and tgrelid::regclass::text like 'londiste.%'",
        "select pg_describe_object(classid, objid, objsubid) from pg_depend
          where refclassid = 'pg_extension'::regclass and deptype = 'e'
            and refobjid = (select oid from pg_extension where extname = 'londiste') order by 1",
        "select obj_description('londiste'::regnamespace, 'pg_namespace')",
    ] {
        facts.extend(rows(client, query));
    }
    facts
}

fn state(client: &mut Client) -> Vec<String> {
    ["table_info", "seq_info", "applied_execute", "pending_fkeys"]
        .into_iter()
        .flat_map(|table| {
            rows(
                client,
                &format!("select '{table}', to_jsonb(t) from londiste.{table} t order by 2::text"),
            )
        })
        .collect()
}

#[test]
fn every_version_that_upstream_released_can_be_updated() {
    let (_database, mut client) = database_on(Tree::Ours);
    let paths = row(
        &mut client,
        "select string_agg(source, ' ' order by source) from pg_extension_update_paths('londiste')
          where target = '4.0' and path = source || '--4.0'",
    );
    assert_eq!(paths, RELEASED);
    // Upstream's package updates the same ones to its own.
    let output =
        Command::new(Tree::Peer.bin().join("pg_config")).arg("--sharedir").output().unwrap();
    let directory = format!("{}/extension", String::from_utf8(output.stdout).unwrap().trim());
    let mut theirs = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(versions) = name.strip_prefix("londiste--") else { continue };
        let first = versions.trim_end_matches(".sql").split("--").next().unwrap();
        if first != "unpackaged" {
            assert!(RELEASED.split(' ').any(|known| known == first), "no update from {first}");
            theirs += 1;
        }
    }
    assert!(theirs >= 9, "{theirs}");
}

#[test]
fn update_from_upstreams_londiste_keeps_what_it_replicates() {
    let pgq = upstream_version();
    offer_upstream(&format!("pgq--{pgq}.sql"));
    offer_upstream("pgq_node--3.5.sql");
    offer_upstream("londiste--3.8.sql");
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(
        &mut client,
        &format!(
            "create extension pgq version '{pgq}'; create extension pgq_node version '3.5';
             create extension londiste version '3.8'"
        ),
    );
    add_node(&mut client, "q", "root", None);
    run(
        &mut client,
        "create table t (id serial primary key, d text); create table u (id integer primary key);
         create table f (id integer primary key, t integer references t);
         select londiste.local_add_table('q', 't'), londiste.local_add_seq('q', 't_id_seq');
         select londiste.local_add_table('q', 'public.name', array['backup'], 'handler=x',
             'public.u');
         select londiste.drop_table_fkey('public.f', 'f_t_fkey');
         select londiste.execute_start('q', 'f.sql', 'select 1', true, 'local-table=t')",
    );
    let before = state(&mut client);
    assert_eq!(before.len(), 5);
    let triggers = "select tgrelid::regclass, tgname, oid from pg_trigger
                     where tgname like '\\_londiste%' order by 1, 2";
    let triggers_before = rows(&mut client, triggers);
    assert_eq!(triggers_before.len(), 4);
    run(&mut client, "alter extension pgq update");
    assert_eq!(
        outcome(&mut client, "alter extension londiste update"),
        "ERROR 55000: extension \"pgq_node\" is older than 4.0"
    );
    run(&mut client, "alter extension pgq_node update; alter extension londiste update");
    assert_eq!(state(&mut client), before);
    let (_fresh, mut fresh) = database_on(Tree::Ours);
    assert_eq!(more_of_the_catalog(&mut client), more_of_the_catalog(&mut fresh));

    // It goes on: upstream's triggers capture, and are known as they are.
    run(&mut client, "insert into t (d) values ('x'); insert into u values (1)");
    run(
        &mut client,
        "select londiste.local_change_handler('q', 'name', array['backup'], 'handler=x')",
    );
    assert_eq!(rows(&mut client, triggers), triggers_before);
    assert_eq!(
        rows(
            &mut client,
            "select ev_type, ev_extra1 from pgq.event_template where ev_type !~ 'londiste' order by ev_id"
        ),
        ["I:id|public.t", "I:id|public.name"]
    );
    assert_eq!(row(&mut client, "select londiste.restore_table_fkey('f', 'f_t_fkey')"), "");
    run(&mut client, "select londiste.local_remove_table('q', 'name')");
    assert_eq!(rows(&mut client, triggers).len(), 2);
}

#[test]
fn update_from_the_oldest_version_brings_the_tables_to_the_present_form() {
    offer("londiste--3.2.sql", include_str!("../../fixtures/londiste--3.2.sql"));
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(&mut client, "create extension pgq; create extension pgq_node");
    run(&mut client, "create extension londiste version '3.2'");
    for queue in ["a", "b"] {
        add_node(&mut client, queue, "leaf", None);
    }
    run(
        &mut client,
        "insert into londiste.table_info (queue_name, table_name, local, merge_state) values ('a', 'public.t', true, 'ok');
         insert into londiste.applied_execute values
             ('a', 'f.sql', '2020-01-02', 'select 1'), ('b', 'f.sql', '2020-01-01', 'select 2'),
             ('a', 'g.sql', '2020-01-01', 'select 3')",
    );
    run(&mut client, "alter extension londiste update");
    assert_eq!(row(&mut client, "select londiste.upgrade_schema()"), "0");
    assert_eq!(
        rows(
            &mut client,
            "select queue_name, execute_file, execute_sql from londiste.applied_execute order by 2"
        ),
        ["b|f.sql|select 2", "a|g.sql|select 3"]
    );
    assert_eq!(
        row(&mut client, "select * from londiste.get_table_list('a')"),
        "public.t|t|ok|∅|∅|∅|∅|0|∅"
    );
    let (_fresh, mut fresh) = database_on(Tree::Ours);
    // Columns that were added later stand at the end.
    let ordered = |client: &mut Client| {
        let mut facts = more_of_the_catalog(client);
        facts.sort();
        facts
    };
    assert_eq!(ordered(&mut client), ordered(&mut fresh));
}

#[test]
fn each_change_of_the_tables_is_counted_once() {
    let (_database, mut client) = database_on(Tree::Ours);
    run(
        &mut client,
        "alter table londiste.table_info drop constraint table_info_check, drop column dest_table;
         drop trigger table_info_trigger_sync on londiste.table_info;
         alter table londiste.applied_execute drop column execute_attrs,
             drop constraint applied_execute_pkey,
             add primary key (queue_name, execute_file),
             add constraint applied_execute_queue_name_fkey foreign key (queue_name) references
                 pgq_node.node_info",
    );
    assert_eq!(row(&mut client, "select londiste.upgrade_schema()"), "6");
    assert_eq!(row(&mut client, "select londiste.upgrade_schema()"), "0");
}
