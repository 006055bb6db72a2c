//! What maintenance runs or reads because of its name is the extension's that has this name.

use pgq_tests::{Cluster, PATIENCE, scratch_database, wait_until};
use postgres::Client;

use crate::pgq::upgrade::released::{create_upstream, swap_libraries};
use pgq_tests::query::{row, rows, run};

/// Functions and tables under the names that maintenance knows, made by the current role.
fn lay_out(client: &mut Client) {
    run(
        client,
        "create schema pgq_node; create schema londiste; create schema pgq_ext; create schema txid;
         grant usage on schema pgq_node, londiste, pgq_ext, txid to public;
         create table londiste.ran (by_whom text); grant insert on londiste.ran to public;
         create function pgq_node.maint_watermark(text) returns integer language plpgsql as
             'begin insert into londiste.ran values (current_user); return 0; end';
         create function londiste.root_check_seqs(text) returns integer language plpgsql as
             'begin insert into londiste.ran values (current_user); return 0; end';
         create function londiste.periodic_maintenance() returns integer language plpgsql as
             'begin insert into londiste.ran values (current_user); return 0; end';
         create table pgq_node.node_info (queue_name text, node_type text);
         create table londiste.seq_info (queue_name text, local boolean);
         create table pgq_ext.completed_tick (n int); create table pgq_node.local_state (n int);
         create table txid.epoch (n int);
         insert into pgq_node.node_info values ('q', 'root');
         insert into londiste.seq_info values ('q', true);
         grant select on pgq_node.node_info, londiste.seq_info to public",
    );
}

const FOREIGN: &str =
    "select func_name || coalesce('(' || func_arg || ')', '') from pgq.maint_operations()
                        where func_name !~ '^pgq[.]' order by 1";
const ALL: [&str; 3] =
    ["londiste.periodic_maintenance", "londiste.root_check_seqs(q)", "pgq_node.maint_watermark(q)"];

#[test]
fn schemas_that_anybody_made_are_not_maintained() {
    let database = scratch_database();
    let mut owner = database.connect();
    let eve = format!("{}_eve", database.name());
    run(
        &mut owner,
        &format!(
            "create role {eve} login; grant create on database {} to {eve}; select pgq.create_queue('q')",
            database.name()
        ),
    );
    lay_out(&mut database.connect_as(&eve));
    assert_eq!(rows(&mut owner, FOREIGN), Vec::<String>::new());

    // Views instead of the tables, which would run in the query that looks for work.
    run(
        &mut database.connect_as(&eve),
        "drop table pgq_node.node_info, londiste.seq_info;
         create function londiste.run() returns text language plpgsql as
             $$ begin insert into londiste.ran values (current_user); return 'root'; end $$;
         create view pgq_node.node_info as select 'q'::text as queue_name,
             londiste.run() as node_type;
         create view londiste.seq_info as select londiste.run() as queue_name, true as local;
         grant select on pgq_node.node_info, londiste.seq_info to public",
    );
    assert_eq!(rows(&mut owner, FOREIGN), Vec::<String>::new());
    assert_eq!(row(&mut owner, "select count(*) from londiste.ran"), "0");

    // A function of the owner's among hers changes nothing, nor does one of hers in a schema of the
    // owner's.
    run(&mut owner, "alter function londiste.periodic_maintenance() owner to postgres");
    assert_eq!(rows(&mut owner, FOREIGN), Vec::<String>::new());
    run(
        &mut owner,
        "alter schema londiste owner to postgres; alter schema pgq_node owner to postgres",
    );
    assert_eq!(rows(&mut owner, FOREIGN), ["londiste.periodic_maintenance"]);
    run(
        &mut owner,
        "create function londiste.periodic_maintenance(integer default 1) returns integer language sql as 'select 0'",
    );
    run(
        &mut owner,
        &format!("alter function londiste.periodic_maintenance(integer) owner to {eve}"),
    );
    assert_eq!(rows(&mut owner, FOREIGN), Vec::<String>::new());
    run(&mut owner, &format!("drop owned by {eve} cascade; drop role {eve}"));
}

#[test]
fn companions_are_maintained_as_extensions_and_from_plain_sql() {
    let database = scratch_database();
    let mut owner = database.connect();
    run(
        &mut owner,
        "select pgq.create_queue('q'); create extension pgq_node;
         select pgq_node.register_location('q', 'n', 'host=a', false);
         select pgq_node.create_node('q', 'root', 'n', 'w', null, null, null)",
    );
    assert_eq!(rows(&mut owner, FOREIGN), ["pgq_node.maint_watermark(q)"]);
    // Even if somebody else owns the schema: the members vouch for themselves.
    let eve = format!("{}_eve", database.name());
    run(&mut owner, &format!("create role {eve}; alter schema pgq_node owner to {eve}"));
    assert_eq!(rows(&mut owner, FOREIGN), ["pgq_node.maint_watermark(q)"]);
    // But not the functions that are another's.
    run(&mut owner, &format!("alter function pgq_node.maint_watermark(text) owner to {eve}"));
    assert_eq!(rows(&mut owner, FOREIGN), Vec::<String>::new());
    run(
        &mut owner,
        &format!("drop extension pgq_node; drop owned by {eve} cascade; drop role {eve}"),
    );

    lay_out(&mut owner);
    assert_eq!(rows(&mut owner, FOREIGN), ALL);
}

#[test]
fn the_worker_runs_and_vacuums_nothing_that_anybody_made() {
    let cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.maint_period", "50ms")
        .set("pgq.vacuum_threshold", 10)
        .set("autovacuum", "off")
        .start();
    let mut owner = cluster.connect("postgres");
    run(
        &mut owner,
        "create extension pgq; select pgq.create_queue('q'); create role eve login; grant create on database postgres to eve",
    );
    let mut eve = cluster.connect_as("postgres", "eve");
    lay_out(&mut eve);
    run(
        &mut eve,
        "insert into pgq_ext.completed_tick select generate_series(1, 100); delete from pgq_ext.completed_tick",
    );
    drop(eve);
    // What is to be maintained: a function that a manager of queues has named, and a table of the
    // extension.
    run(
        &mut owner,
        "create sequence public.rounds; grant usage on sequence public.rounds to pgq_admin;
         create function public.round(text) returns integer language plpgsql as
             'begin perform nextval(''public.rounds''); return 0; end';
         insert into pgq.consumer (co_name) select n::text from generate_series(1, 100) n;
         delete from pgq.consumer;
         update pgq.queue set queue_extra_maint = '{public.round}'",
    );
    let done = "select (select last_value > 5 from public.rounds)
                   and (select vacuum_count > 0 from pg_stat_user_tables
                       where relid = 'pgq.consumer'::regclass)";
    assert!(wait_until(PATIENCE, || row(&mut owner, done) == "t"));
    assert_eq!(rows(&mut owner, "select by_whom from londiste.ran"), Vec::<String>::new());
    let vacuumed = "select coalesce(sum(vacuum_count), 0) from pg_stat_user_tables where schemaname in ('pgq_ext', 'pgq_node', 'txid')";
    assert_eq!(row(&mut owner, vacuumed), "0");

    // The same once they are the owner's: as if installed from plain SQL.
    run(&mut owner, "alter role eve rename to former; reassign owned by former to postgres");
    run(&mut owner, "grant usage on schema pgq_node, londiste to pgq_admin");
    let ran = "select count(*) >= 3 and bool_and(by_whom = 'pgq_admin') from londiste.ran";
    assert!(wait_until(PATIENCE, || row(&mut owner, ran) == "t"));
}

/// The SQL of PgQ 3 lists whatever has the names: the worker does not ask it beside schemas that
/// anybody made.
#[test]
fn a_worker_runs_nothing_of_theirs_on_the_sql_of_3() {
    let mut cluster = Cluster::builder()
        .set("shared_preload_libraries", "pgq")
        .set("pgq.maint_period", "50ms")
        .set("pgq.ticker_period", "50ms")
        .set("pgq.discovery_period", "200ms")
        .set("fsync", "off")
        .start();
    let mut owner = cluster.connect("postgres");
    run(&mut owner, "create role eve login; grant create on database postgres to eve");
    lay_out(&mut cluster.connect_as("postgres", "eve"));
    create_upstream(&mut owner);
    swap_libraries(&mut owner);
    run(
        &mut owner,
        "select pgq.create_queue('q'); update pgq.queue set queue_rotation_period = '0'",
    );
    drop(owner);
    // Nothing in that SQL tells the launcher of a database.
    cluster.restart();
    let mut owner = cluster.connect("postgres");
    for _ in 0..3 {
        let table = "select queue_cur_table from pgq.queue";
        let before = row(&mut owner, table);
        let rotated = wait_until(PATIENCE, || row(&mut owner, table) != before);
        assert!(rotated, "{}", cluster.log());
    }
    assert_eq!(rows(&mut owner, "select by_whom from londiste.ran"), Vec::<String>::new());
    let told = || cluster.log().contains("maintenance of \"schema londiste\" failed");
    assert!(wait_until(PATIENCE, told), "{}", cluster.log());

    // Once the schemas are a superuser's, they are maintained.
    run(
        &mut owner,
        "reassign owned by eve to postgres; grant usage on schema pgq_node, londiste to public",
    );
    let ran = "select count(*) >= 3 and bool_and(by_whom = 'pgq_admin') from londiste.ran";
    assert!(wait_until(PATIENCE, || row(&mut owner, ran) == "t"));
}
