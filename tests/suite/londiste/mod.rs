//! Extension `londiste`: its SQL contract, against upstream's 3.8; python londiste on it.

mod administer;
mod ask;
mod commands;
mod copy_roles;
mod definitions;
mod dump;
mod faults;
mod nodes;
mod partitions;
mod peer;
mod python;
mod races;
mod roles;
mod sequences;
mod signatures;
mod triggers;
mod update;

use pgq_tests::{Scratch, Tree, scratch_database_on};
use postgres::Client;

use pgq_tests::query::run;

/// A database with londiste and all that it needs.
fn database_on(tree: Tree) -> (Scratch, Client) {
    let database = scratch_database_on(tree);
    let mut client = database.connect();
    run(
        &mut client,
        "set client_min_messages = warning; create extension londiste cascade;
         reset client_min_messages",
    );
    (database, client)
}

/// Make the database a node of a queue; its other nodes are called `up`.
fn add_node(client: &mut Client, queue: &str, kind: &str, combined: Option<&str>) {
    let combined = combined.map_or("null".to_owned(), |queue| format!("'{queue}'"));
    let provider = if kind == "root" { "null, null" } else { "'up', 1" };
    run(
        client,
        &format!(
            "select pgq_node.register_location('{queue}', n, 'dbname=' || n, false)
               from unnest(array['me', 'up']) n;
             select pgq_node.create_node('{queue}', '{kind}', 'me', '{queue}_w', {provider},
                 {combined})"
        ),
    );
}

/// A root of queue `q`.
fn root() -> (Scratch, Client) {
    let (database, mut client) = database_on(Tree::Ours);
    add_node(&mut client, "q", "root", None);
    (database, client)
}
