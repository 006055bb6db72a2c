//! The databases of a set, by the name of their node.

use std::collections::BTreeMap;

use pgq_tests::query::run;
use pgq_tests::{Scratch, scratch_database};
use postgres::Client;

/// Databases that know of each other.
pub(super) struct Sites(BTreeMap<&'static str, Scratch>);

impl Sites {
    pub(super) fn new(names: &[&'static str]) -> Self {
        let sites = Self(names.iter().map(|name| (*name, scratch_database())).collect());
        for name in names {
            let mut client = sites.connect(name);
            run(&mut client, "create extension pgq_node; create table applied (data text)");
            for other in names {
                run(
                    &mut client,
                    &format!(
                        "select pgq_node.register_location('q', '{other}', 'dbname={other}', false)"
                    ),
                );
            }
        }
        sites
    }

    pub(super) fn connect(&self, name: &str) -> Client {
        self.0[name].connect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Scratch> {
        self.0.values()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}
