//! Which tables an event may name. Whoever may insert events chooses the names in them, and must
//! not write with our rights to what we were not told to: to the tables of the server and of PgQ
//! never.

use std::collections::BTreeSet;

use crate::change::{Operation, RowChange};
use crate::error::Error;
use crate::name;
use crate::pattern::Pattern;
use crate::session::{Argument, Session};

/// Schemas of PgQ, also where it was installed by script.
const SCHEMAS: [&str; 6] =
    ["information_schema", "pgq", "pgq_node", "pgq_coop", "pgq_ext", "londiste"];

/// What an [`super::Applier`] was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Permit {
    /// Schema and table; none: any but the system's and PgQ's.
    only: Option<Vec<(Pattern, Pattern)>>,
    /// Targets of a mapping, which are told by it.
    mapped: BTreeSet<String>,
    truncate: bool,
}

impl Permit {
    /// Allow tables of this pattern, `schema.table`; without a dot they are in schema public.
    pub(super) fn allow(&mut self, pattern: &str) {
        let (schema, table) = name::split(pattern);
        self.only
            .get_or_insert_default()
            .push((Pattern::new(schema.trim()), Pattern::new(table.trim())));
    }

    pub(super) fn allow_mapped(&mut self, source: &str) {
        self.mapped.insert(source.to_owned());
    }

    pub(super) fn allow_truncate(&mut self, allow: bool) {
        self.truncate = allow;
    }

    /// May this change of table `source`, which is to be written to `change.table`, be written
    /// there, by its names?
    pub(super) fn check(
        &self,
        event_id: i64,
        source: &str,
        change: &RowChange,
    ) -> Result<(), Error> {
        let target = &change.table;
        let (schema, table) = name::split(target);
        if schema.starts_with("pg_") || SCHEMAS.contains(&schema) {
            return Err(Error::Refused(format!(
                "event {event_id} names table \"{target}\": system and PgQ schemas are never written to"
            )));
        }
        let told = match &self.only {
            None => true,
            Some(only) => {
                self.mapped.contains(source)
                    || only
                        .iter()
                        .any(|(schemas, tables)| schemas.matches(schema) && tables.matches(table))
            }
        };
        if !told {
            return Err(Error::Refused(format!(
                "event {event_id} names table \"{target}\", which --only (INI: tables) does not allow"
            )));
        }
        if change.operation == Operation::Truncate && !self.truncate {
            return Err(Error::Refused(format!(
                "event {event_id} truncates table \"{target}\", which needs --allow-truncate (INI: allow_truncate)"
            )));
        }
        Ok(())
    }

    /// The schema and name of a relation that must not be written to, and that a write to this one
    /// reaches: as a view's table, by a rule, a partition, an inheriting table, a foreign key that
    /// carries changes on, a foreign table of this or another server.
    pub(super) fn reaches<S: Session>(
        session: &mut S,
        schema: &str,
        table: &str,
    ) -> Result<Option<String>, S::Error> {
        let schemas: Vec<_> = SCHEMAS.into_iter().map(Some).collect();
        let arguments = [schema.into(), table.into(), Argument::Texts(&schemas)];
        let rows = session.rows(include_str!("reach.sql"), &arguments)?;
        Ok(rows.first().map(|row| row.text(0)).transpose()?.map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Permit, RowChange};

    fn refused(
        permit: &Permit,
        operation: Operation,
        source: &str,
        target: &str,
    ) -> Option<String> {
        let (key, columns) = (Vec::new(), Vec::new());
        let change = RowChange { operation, table: target.to_owned(), key, columns };
        permit.check(7, source, &change).err().map(|error| error.to_string())
    }

    #[test]
    fn system_schemas_are_refused_however_they_are_allowed() {
        let mut permit = Permit::default();
        let insert =
            |permit: &Permit, table: &str| refused(permit, Operation::Insert, table, table);
        for table in
            ["pg_catalog.pg_authid", "pg_temp_3.t", "pg_toast.x", "pgq.queue", "londiste.t"]
        {
            let words = insert(&permit, table).unwrap();
            assert!(words.starts_with(&format!("event 7 names table \"{table}\"")), "{words}");
        }
        permit.allow("*.*");
        permit.allow("pg_catalog.pg_authid");
        permit.allow_mapped("public.t");
        assert!(insert(&permit, "pg_catalog.pg_authid").is_some());
        assert!(refused(&permit, Operation::Insert, "public.t", "pgq.queue").is_some());
        assert!(insert(&permit, "app.t").is_none());
    }

    #[test]
    fn patterns_name_what_may_be_written() {
        let mut permit = Permit::default();
        assert!(refused(&permit, Operation::Insert, "app.t", "app.t").is_none());
        permit.allow("hits");
        permit.allow("shop.order_*");
        permit.allow_mapped("public.a");
        for (table, allowed) in [
            ("public.hits", true),
            ("hits", true),
            ("shop.order_1", true),
            ("shop.orders", false),
            ("public.order_1", false),
            ("public.Hits", false),
            ("archive.a", false),
        ] {
            assert_eq!(
                refused(&permit, Operation::Insert, table, table).is_none(),
                allowed,
                "{table}"
            );
        }
        assert!(refused(&permit, Operation::Insert, "public.a", "archive.a").is_none());
        let words = refused(&permit, Operation::Truncate, "public.hits", "public.hits").unwrap();
        assert!(words.contains("--allow-truncate"), "{words}");
        permit.allow_truncate(true);
        assert!(refused(&permit, Operation::Truncate, "public.hits", "public.hits").is_none());
    }
}
