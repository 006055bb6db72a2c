//! Databases become nodes of a set, and cease to be, by SQL alone.

use pgq_tests::programs::dsn;
use pgq_tests::query::{outcome, row, rows, run};
use pgq_tests::{Scratch, Tree};
use postgres::Client;

use crate::londiste::database_on;

/// A database, and how to connect to it as an SQL literal.
struct Site {
    /// It goes with the value.
    _database: Scratch,
    client: Client,
    location: String,
}

fn site_on(tree: Tree) -> Site {
    let (database, client) = database_on(tree);
    let location = format!("'{}'", dsn(&database).replace('\'', "''"));
    Site { _database: database, client, location }
}

fn site() -> Site {
    site_on(Tree::Ours)
}

impl Site {
    fn outcome(&mut self, call: &str) -> String {
        outcome(&mut self.client, &format!("select * from londiste.{call}"))
    }

    fn create(&mut self, kind: &str, name: &str, provider: Option<&str>) -> String {
        let provider = provider.map(|provider| format!(", {provider}")).unwrap_or_default();
        let location = self.location.clone();
        self.outcome(&format!("create_{kind}('q', '{name}', {location}{provider})"))
    }

    fn row(&mut self, sql: &str) -> String {
        row(&mut self.client, sql)
    }

    fn names(&mut self, sql: &str) -> Vec<String> {
        rows(&mut self.client, sql)
    }

    /// Lay a tick with all that was said.
    fn tick(&mut self) {
        run(&mut self.client, "select pgq.force_tick('q'); select pgq.ticker('q')");
    }
}

const MEMBERS: &str = "select node_name from pgq_node.node_location order by 1";
const SUBSCRIBERS: &str =
    "select subscriber_node || ' ' || worker_name from pgq_node.subscriber_info order by 1";
const NODE: &str = "select node_type, node_name, provider_node, worker_name, worker_last_tick
                      from pgq_node.get_node_info('q')";

fn made(kind: &str, name: &str) -> String {
    format!("200|Node \"{name}\" initialized for queue \"q\" with type \"{kind}\"")
}

/// Whoever owns a database can have its sessions look for names in a schema of his own first.
#[test]
fn no_name_of_the_other_database_is_run() {
    let (mut berlin, mut paris) = (site(), site());
    berlin.create("root", "berlin", None);
    run(
        &mut berlin.client,
        "create table t (id serial primary key); select londiste.local_add_table('q', 't');
         select londiste.local_add_seq('q', 't_id_seq');
         create schema own;
         create function own.trap(pg_catalog.text) returns boolean language plpgsql
             as $$begin raise 'a trap was run'; end$$;
         create domain own.text as pg_catalog.text check (own.trap(value));
         do $$begin
             execute pg_catalog.format('alter database %I set search_path = own, pg_catalog',
                                       pg_catalog.current_database());
         end$$",
    );
    berlin.tick();
    let provider = berlin.location.clone();
    assert_eq!(paris.create("branch", "paris", Some(&provider)), made("branch", "paris"));
    assert_eq!(paris.outcome("drop_node('q', 'paris')"), "200|Node dropped: paris");
}

#[test]
fn a_set_is_made_and_taken_apart_with_psql_alone() {
    let (mut berlin, mut paris, mut rome) = (site(), site(), site());
    assert_eq!(berlin.create("root", "berlin", None), made("root", "berlin"));
    assert_eq!(berlin.row(NODE), "root|berlin|berlin|berlin_worker|1");
    run(
        &mut berlin.client,
        "create table t (id serial primary key); create table other (id integer primary key);
         select londiste.local_add_table('q', 't'); select londiste.local_add_table('q', 'other')",
    );
    berlin.tick();

    let provider = berlin.location.clone();
    assert_eq!(paris.create("branch", "paris", Some(&provider)), made("branch", "paris"));
    assert_eq!(berlin.names(SUBSCRIBERS), ["paris paris_worker"]);
    assert_eq!(berlin.names(MEMBERS), ["berlin", "paris"]);
    assert_eq!(paris.names(MEMBERS), ["berlin", "paris"]);
    assert_eq!(paris.row(NODE), "branch|paris|berlin|paris_worker|1");
    let tables = "select table_name, local from londiste.get_table_list('q')";
    assert_eq!(paris.names(tables), ["public.t|f", "public.other|f"]);

    // The root is found by way of the provider, and learns of it, too.
    let provider = paris.location.clone();
    assert_eq!(rome.create("leaf", "rome", Some(&provider)), made("leaf", "rome"));
    assert_eq!(paris.names(SUBSCRIBERS), ["rome rome_worker"]);
    assert_eq!(berlin.names(SUBSCRIBERS), ["paris paris_worker"]);
    for site in [&mut berlin, &mut paris, &mut rome] {
        assert_eq!(site.names(MEMBERS), ["berlin", "paris", "rome"]);
    }
    assert_eq!(rome.row(NODE), "leaf|rome|paris|rome_worker|1");
    assert_eq!(rome.names(tables), ["public.t|f", "public.other|f"]);
    let told = "select ev_extra1 from pgq.event_template where ev_type = 'pgq.location-info'";
    assert_eq!(berlin.names(&format!("{told} and ev_data = 'rome'")), ["q"]);

    assert_eq!(paris.outcome("drop_node('q', 'paris')"), "405|Node has subscribers: rome");
    assert_eq!(rome.outcome("drop_node('q', 'paris')"), "404|Not the node of this database: paris");
    assert_eq!(rome.outcome("drop_node('q', 'rome')"), "200|Node dropped: rome");
    assert_eq!(paris.names(SUBSCRIBERS), [""; 0]);
    assert_eq!(paris.names(MEMBERS), ["berlin", "paris"]);
    assert_eq!(berlin.names(MEMBERS), ["berlin", "paris"]);
    assert_eq!(rome.names(MEMBERS), [""; 0]);
    // What was captured for the queue is no longer.
    run(
        &mut paris.client,
        "create table t (id integer primary key);
         select londiste.local_add_table('q', 't', '{expect_sync}')",
    );
    assert_eq!(paris.outcome("drop_node('q', 'paris')"), "200|Node dropped: paris");
    run(&mut paris.client, "insert into t values (1)");
    assert_eq!(berlin.names(MEMBERS), ["berlin"]);
    assert_eq!(berlin.outcome("drop_node('q', 'berlin')"), "200|Node dropped: berlin");
    run(&mut berlin.client, "insert into t default values");
    assert_eq!(berlin.row("select count(*) from pgq.queue"), "0");
    // And again.
    assert_eq!(berlin.create("root", "berlin", None), made("root", "berlin"));
}

#[test]
fn a_node_whose_making_was_interrupted_is_made_by_the_next_attempt_where_it_was_to_begin() {
    let (mut root, mut leaf) = (site(), site());
    root.create("root", "up", None);
    root.tick();
    let provider = root.location.clone();
    run(&mut leaf.client, "begin");
    assert_eq!(leaf.create("branch", "down", Some(&provider)), made("branch", "down"));
    run(&mut leaf.client, "rollback");
    assert_eq!(leaf.row("select count(*) from pgq_node.node_info"), "0");
    assert_eq!(root.names(SUBSCRIBERS), ["down down_worker"]);
    // Meanwhile the set goes on.
    let first = root.row("select last_tick from pgq.get_consumer_info('q', 'down_worker')");
    run(&mut root.client, "select pgq.insert_event('q', 'x', 'y')");
    root.tick();
    run(
        &mut root.client,
        "select pgq.register_consumer_at('q', '.global_watermark',
                                         (select max(tick_id) from pgq.tick))",
    );
    assert_eq!(leaf.create("branch", "down", Some(&provider)), made("branch", "down"));
    assert_eq!(leaf.row(NODE), format!("branch|down|up|down_worker|{first}"));
    assert_eq!(
        leaf.create("branch", "down", Some(&provider)),
        "401|Node already initialized",
        "and only once"
    );
}

#[test]
fn what_cannot_be_a_node_is_refused_and_nobody_hears_of_it() {
    let (mut root, mut leaf, mut other) = (site(), site(), site());
    root.create("root", "up", None);
    let provider = root.location.clone();
    assert_eq!(leaf.create("leaf", "down", Some(&provider)), made("leaf", "down"));
    let away = leaf.location.clone();
    let own = other.location.clone();
    let with_password = own.replacen('\'', "'password=hunter2 ", 1);
    for (call, expected) in [
        (
            format!("create_root('q', 'new', {with_password})"),
            "ERROR 22023: the location has a password",
        ),
        (
            format!("create_leaf('q', 'new', {with_password}, {provider})"),
            "ERROR 22023: the location has a password",
        ),
        (
            "create_root('q', 'new', 'postgresql://u:hunter2@h/d')".to_owned(),
            "ERROR 22023: the location has a password",
        ),
        (
            "create_root('q', 'new', 'hunter2')".to_owned(),
            "ERROR 22023: the connection string is not valid",
        ),
        (
            format!("create_root('q', 'new', {away})"),
            "ERROR 22023: the location of node \"new\" leads to another database",
        ),
        (
            format!("create_root(null, 'new', {own})"),
            "ERROR 22004: queue and node must not be null",
        ),
        ("create_root('q', 'new', null)".to_owned(), "ERROR 22004: location must not be NULL"),
        (
            format!("create_branch('nope', 'new', {own}, {provider})"),
            "ERROR 42704: the other database is no node of queue \"nope\"",
        ),
        (format!("create_leaf('q', 'new', {own}, {away})"), "401|Cannot subscribe to leaf node"),
        (format!("create_leaf('q', 'down', {own}, {provider})"), "401|Node name is taken: down"),
        (format!("create_branch('q', 'up', {own}, {provider})"), "401|Node name is taken: up"),
        ("drop_node('q', 'new')".to_owned(), "404|Not the node of this database: new"),
    ] {
        assert_eq!(other.outcome(&call), expected, "{call}");
    }
    assert_eq!(root.names(MEMBERS), ["down", "up"]);
    assert_eq!(root.names(SUBSCRIBERS), ["down down_worker"]);
    assert_eq!(other.names(MEMBERS), [""; 0]);
    assert_eq!(other.row("select count(*) from pgq.queue"), "0");
    // Locations that lead in a circle are seen.
    run(
        &mut root.client,
        "update pgq_node.node_info set node_type = 'branch';
         update pgq_node.local_state set provider_node = 'up'",
    );
    let call = format!("create_leaf('q', 'new', {own}, {provider})");
    assert_eq!(other.outcome(&call), "ERROR 55000: the providers of queue \"q\" are a circle: up");
}

#[test]
fn what_another_node_refuses_is_said_and_not_done_here() {
    let (mut root, mut leaf) = (site(), site());
    root.create("root", "up", None);
    let provider = root.location.clone();
    // A provider that refuses the location.
    let function = "pgq_node.register_location(text, text, text, boolean)";
    let definition = root.row(&format!("select pg_get_functiondef('{function}'::regprocedure)"));
    run(
        &mut root.client,
        "create or replace function pgq_node.register_location(
             in i_queue_name text, in i_node_name text, in i_node_location text, in i_dead boolean,
             out ret_code int4, out ret_note text)
         language sql as $$ select 403, 'never' $$",
    );
    assert_eq!(
        leaf.create("leaf", "down", Some(&provider)),
        "ERROR 55000: the location of node \"down\" is refused: never"
    );
    assert_eq!(root.names(SUBSCRIBERS), [""; 0]);
    run(&mut root.client, &definition);
    assert_eq!(leaf.create("leaf", "down", Some(&provider)), made("leaf", "down"));
    run(
        &mut leaf.client,
        "create table t (id integer primary key);
         select londiste.global_add_table('q', 't');
         select londiste.local_add_table('q', 't', '{expect_sync}')",
    );

    // One that reads from the node which is to be forgotten.
    run(&mut root.client, "update pgq_node.local_state set provider_node = 'down'");
    assert_eq!(leaf.outcome("drop_node('q', 'down')"), "405|Cannot drop provider node: down");
    assert_eq!(leaf.row("select local from londiste.get_table_list('q')"), "t");
    assert_eq!(root.names(SUBSCRIBERS), ["down down_worker"]);
    run(&mut root.client, "update pgq_node.local_state set provider_node = 'up'");
    assert_eq!(leaf.outcome("drop_node('q', 'down')"), "200|Node dropped: down");
    assert_eq!(root.names(SUBSCRIBERS), [""; 0]);
}

/// Nodes of upstream's extensions serve as providers.
#[test]
fn a_node_on_upstreams_extensions_can_be_the_provider() {
    let (mut root, mut leaf) = (site_on(Tree::Peer), site());
    let location = root.location.clone();
    run(
        &mut root.client,
        &format!(
            "select pgq_node.register_location('q', 'up', {location}, false);
             select pgq_node.create_node('q', 'root', 'up', 'up_worker', null, null, null);
             create table t (id integer primary key); select londiste.local_add_table('q', 't')"
        ),
    );
    assert_eq!(leaf.create("leaf", "down", Some(&location)), made("leaf", "down"));
    assert_eq!(root.names(SUBSCRIBERS), ["down down_worker"]);
    assert_eq!(leaf.row("select table_name from londiste.get_table_list('q')"), "public.t");
    assert_eq!(leaf.outcome("drop_node('q', 'down')"), "200|Node dropped: down");
    assert_eq!(root.names(MEMBERS), ["up"]);
}
