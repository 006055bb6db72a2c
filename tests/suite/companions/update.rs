//! ALTER EXTENSION … UPDATE from older versions: the catalogs of a fresh installation, and what was
//! kept.

use std::fs;
use std::process::Command;

use pgq_tests::{Tree, scratch_database_on};
use postgres::Client;

use crate::companions::full;
use crate::pgq::upgrade::released::upstream_version;
use pgq_tests::query::{outcome, row, rows, run};

/// The directory of our tree that extensions are installed in, or upstream's.
fn extensions(tree: Tree) -> String {
    let output = Command::new(tree.bin().join("pg_config")).arg("--sharedir").output().unwrap();
    format!("{}/extension", String::from_utf8(output.stdout).unwrap().trim())
}

/// Offer the script of another version in our tree, which is a private one. Written beside it and
/// renamed, since other tests may be reading it.
pub(crate) fn offer(script: &str, text: &str) {
    let place = format!("{}/{script}", extensions(Tree::Ours));
    let fresh = format!("{place}.{}", std::process::id());
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, place).unwrap();
}

/// Offer upstream's script of a version, with its functions in upstream's own libraries.
pub(crate) fn offer_upstream(script: &str) {
    let output =
        Command::new(Tree::Peer.bin().join("pg_config")).arg("--pkglibdir").output().unwrap();
    let libraries = String::from_utf8(output.stdout).unwrap();
    let text = fs::read_to_string(format!("{}/{script}", extensions(Tree::Peer))).unwrap();
    offer(script, &text.replace("'$libdir/", &format!("'{}/", libraries.trim())));
}

/// What an update has to bring to the state of a fresh installation.
pub(crate) fn catalog(client: &mut Client, schema: &str) -> Vec<String> {
    let mut facts = rows(
        client,
        &format!(
            "select pg_get_functiondef(p.oid), p.proacl, obj_description(p.oid, 'pg_proc')
               from pg_proc p where p.pronamespace = '{schema}'::regnamespace order by \
               p.oid::regprocedure::text"
        ),
    );
    facts.extend(rows(
        client,
        &format!(
            "select c.relname, c.relacl, obj_description(c.oid, 'pg_class'), a.attname, \
             format_type(a.atttypid, null),
                    a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
               from pg_class c
               join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
               left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
              where c.relnamespace = '{schema}'::regnamespace order by c.relname, a.attnum"
        ),
    ));
    facts.extend(rows(
        client,
        &format!(
            "select count(*), (select coalesce(cardinality(extconfig), 0) from pg_extension where \
             extname = '{schema}')
               from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e'
                and refobjid = (select oid from pg_extension where extname = '{schema}')"
        ),
    ));
    facts
}

/// An extension of this version, with all four tables to be changed.
pub(crate) fn create_old_pgq_ext(client: &mut Client) {
    offer("pgq_ext--3.1.sql", include_str!("../../fixtures/pgq_ext--3.1.sql"));
    run(client, "create extension pgq_ext version '3.1'");
}

/// Versions that upstream has tagged, and one that updates to 4.0 in one step.
#[test]
fn every_version_that_upstream_released_can_be_updated() {
    let (_database, mut client) = full();
    for (extension, versions) in [
        ("pgq_node", "3.2 3.2.5 3.3.1 3.4 3.5"),
        ("pgq_coop", "3.1 3.1.1 3.3 3.3.1 3.3.2 3.3.3 3.3.4 3.3.5 3.3.6 3.3.7 3.3.8 3.4"),
        ("pgq_ext", "3.1 3.1.1 3.1.2 3.2 3.3"),
    ] {
        let paths = row(
            &mut client,
            &format!(
                "select string_agg(source, ' ' order by source) from \
                 pg_extension_update_paths('{extension}')
                  where target = '4.0' and path = source || '--4.0'"
            ),
        );
        assert_eq!(paths, versions, "{extension}");
    }
}

/// Tables and functions are those of 3.4 since 3.3.1.
#[test]
fn update_from_pgq_coop_3_3_8() {
    let pgq = upstream_version();
    offer_upstream(&format!("pgq--{pgq}.sql"));
    let text = include_str!("../../fixtures/pgq_coop--3.4.sql").replace("'3.4'", "'3.3.8'");
    offer("pgq_coop--3.3.8.sql", &text);
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(&mut client, &format!("create extension pgq version '{pgq}'"));
    run(&mut client, "create extension pgq_coop version '3.3.8'; alter extension pgq update");
    run(&mut client, "alter extension pgq_coop update");
    let (_fresh, mut fresh) = full();
    assert_eq!(catalog(&mut client, "pgq_coop"), catalog(&mut fresh, "pgq_coop"));
}

#[test]
fn update_from_upstreams_pgq_node_keeps_the_nodes() {
    let pgq = upstream_version();
    offer_upstream(&format!("pgq--{pgq}.sql"));
    offer_upstream("pgq_node--3.5.sql");
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(&mut client, &format!("create extension pgq version '{pgq}'"));
    run(&mut client, "create extension pgq_node version '3.5'");
    run(
        &mut client,
        "select pgq_node.register_location('q', 'n1', 'dbname=n1', false), \
         pgq_node.register_location('q', 'n2', 'x', true);
         select pgq_node.create_node('q', 'root', 'n1', 'n1_worker', null, null, null);
         select pgq_node.register_subscriber('q', 'n2', 'n2_worker', null)",
    );
    let info = row(&mut client, "select * from pgq_node.get_node_info('q')");
    assert_eq!(
        outcome(&mut client, "alter extension pgq_node update"),
        "ERROR 55000: extension \"pgq\" is older than 4.0"
    );
    run(&mut client, "alter extension pgq update; alter extension pgq_node update");
    assert_eq!(row(&mut client, "select pgq_node.version()"), "4.0");
    assert_eq!(row(&mut client, "select * from pgq_node.get_node_info('q')"), info);
    assert_eq!(
        row(&mut client, "select problem from pgq_node.node_health() where problem <> 'lag'"),
        "nothing"
    );
    let (_fresh, mut fresh) = full();
    assert_eq!(catalog(&mut client, "pgq_node"), catalog(&mut fresh, "pgq_node"));
}

#[test]
fn update_from_an_older_pgq_ext_keeps_what_was_done() {
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    create_old_pgq_ext(&mut client);
    run(&mut client, "insert into pgq_ext.completed_batch values ('c', 'part', 5)");
    run(&mut client, "alter extension pgq_ext update");
    assert_eq!(
        row(&mut client, "select pgq_ext.is_batch_done('c', 'part', 5), pgq_ext.version()"),
        "t|4.0"
    );
    assert_eq!(row(&mut client, "select pgq_ext.upgrade_schema()"), "0");
    let (_fresh, mut fresh) = full();
    assert_eq!(catalog(&mut client, "pgq_ext"), catalog(&mut fresh, "pgq_ext"));
}

#[test]
fn single_key_tables_of_skytools_2_are_brought_up_in_8_changes() {
    let (_database, mut client) = full();
    run(
        &mut client,
        "create function pg_temp.old(tab text, key text) returns void language plpgsql as $$
         begin
             execute format('alter table pgq_ext.%I drop column subconsumer_id', tab);
             execute format('alter table pgq_ext.%I add constraint %I primary key (%s)', tab, tab \
             || '_pkey', key);
         end $$;
         select pg_temp.old('completed_tick', 'consumer_id'), pg_temp.old('completed_batch', \
         'consumer_id'),
                pg_temp.old('completed_event', 'consumer_id, batch_id, event_id'),
                pg_temp.old('partial_batch', 'consumer_id');
         insert into pgq_ext.completed_batch values ('c', 5)",
    );
    assert_eq!(row(&mut client, "select pgq_ext.upgrade_schema()"), "8");
    assert_eq!(row(&mut client, "select pgq_ext.upgrade_schema()"), "0");
    assert_eq!(row(&mut client, "select pgq_ext.is_batch_done('c', 5)"), "t");
    assert_eq!(row(&mut client, "select pgq_ext.set_batch_done('c', 'part', 5)"), "t");
    run(
        &mut client,
        "alter table pgq_ext.completed_tick alter subconsumer_id drop default;
         alter table pgq_ext.completed_batch alter subconsumer_id drop default;
         alter table pgq_ext.completed_event alter subconsumer_id drop default;
         alter table pgq_ext.partial_batch alter subconsumer_id drop default",
    );
    assert_eq!(row(&mut client, "select pgq_ext.upgrade_schema()"), "4");
}

#[test]
fn update_from_an_older_pgq_coop_repairs_broken_members() {
    let pgq = upstream_version();
    offer_upstream(&format!("pgq--{pgq}.sql"));
    offer("pgq_coop--3.4.sql", include_str!("../../fixtures/pgq_coop--3.4.sql"));
    let database = scratch_database_on(Tree::Ours);
    let mut client = database.connect();
    run(&mut client, &format!("create extension pgq version '{pgq}'"));
    run(&mut client, "create extension pgq_coop version '3.4'");
    // A group whose first member was finished with pgq.finish_batch, and whose second has a batch
    // open.
    run(
        &mut client,
        "select pgq.create_queue('q'); select pgq.register_consumer('q', 'm');
         select pgq.register_consumer('q', 'm.s1'); select pgq.register_consumer('q', 'm.s2');
         update pgq.subscription set sub_id = 1;
         update pgq.subscription set sub_next_tick = 1, sub_batch = nextval('pgq.batch_id_seq') \
         where sub_consumer = 3",
    );
    run(&mut client, "alter extension pgq update; alter extension pgq_coop update");
    assert_eq!(
        rows(
            &mut client,
            "select consumer_name, last_tick, current_batch from pgq.get_consumer_info()"
        ),
        ["m|1|∅", "m.s1|∅|∅", "m.s2|1|1"]
    );
    assert_eq!(row(&mut client, "select pgq_coop.next_batch('q', 'm', 's2')"), "1");
    let (_fresh, mut fresh) = full();
    assert_eq!(catalog(&mut client, "pgq_coop"), catalog(&mut fresh, "pgq_coop"));
}
