//! `pgq_coop`, `pgq_ext` and `pgq_node` as extensions.

mod cascade;
mod coop;
mod coop_processes;
mod documents;
mod dump;
mod ext;
pub(crate) mod node;
mod roles;
mod signatures;
pub(crate) mod update;

use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

use pgq_tests::query::run;

pub(crate) use update::create_old_pgq_ext;

const COMPANIONS: [&str; 3] = ["pgq_coop", "pgq_ext", "pgq_node"];

/// A database with pgq and its companions.
pub(crate) fn full() -> (Scratch, Client) {
    let database = scratch_database();
    let mut client = database.connect();
    for extension in COMPANIONS {
        run(&mut client, &format!("create extension {extension}"));
    }
    (database, client)
}
