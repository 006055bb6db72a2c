//! A target table, and the changes that wait to be written to it.

use std::collections::{BTreeMap, HashMap};

use pgq_connect::quote::identifier;
use postgres::Transaction;
use postgres::types::Type;

use super::permit::Permit;
use super::statement;
use crate::change::{Operation, RowChange};
use crate::error::Error;

/// What is known of a target table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Quoted, with schema.
    name: String,
    /// Column and type, the type as SQL.
    columns: BTreeMap<String, String>,
    /// Column and its type's equality, as an operator with schema.
    equals: BTreeMap<String, String>,
    /// Generated columns, which compute themselves.
    generated: Vec<String>,
    /// Key column sets that a unique index enforces, each sorted.
    unique: Vec<Vec<String>>,
}

/// Values of the key columns.
type Key<'c> = Vec<Option<&'c str>>;

/// Changes reduced to the last state of each row.
#[derive(Debug, Default)]
pub(super) struct Pending<'c> {
    columns: Vec<&'c str>,
    key: Vec<&'c str>,
    rows: Vec<Option<&'c RowChange>>,
    by_key: HashMap<Key<'c>, usize>,
}

impl<'c> Pending<'c> {
    /// Does the change have the columns of those before it?
    pub(super) fn takes(&self, change: &RowChange) -> bool {
        change.operation == Operation::Truncate
            || (self.columns.iter().eq(change.columns.iter().map(|(name, _)| name))
                && self.key.iter().eq(change.key.iter()))
    }

    pub(super) fn add(&mut self, change: &'c RowChange) -> Result<(), Error> {
        if self.columns.is_empty() {
            self.columns = change.columns.iter().map(|(name, _)| name.as_str()).collect();
            self.key = change.key.iter().map(String::as_str).collect();
        }
        if !self.key.is_empty() {
            let key: Key<'c> = key_values(change)?;
            // A later state of the row replaces the earlier one, and takes its turn.
            if let Some(before) = self.by_key.insert(key, self.rows.len())
                && let Some(row) = self.rows.get_mut(before)
            {
                *row = None;
            }
        }
        self.rows.push(Some(change));
        Ok(())
    }

    fn rows(&self, deleted: bool) -> Vec<&'c RowChange> {
        let wanted = |change: &&RowChange| (change.operation == Operation::Delete) == deleted;
        self.rows.iter().flatten().copied().filter(wanted).collect()
    }
}

fn key_values(change: &RowChange) -> Result<Key<'_>, Error> {
    change
        .key
        .iter()
        .map(|name| {
            change.column(name).ok_or_else(|| {
                Error::Payload(format!("table \"{}\": no value of key \"{name}\"", change.table))
            })
        })
        .collect()
}

impl Table {
    /// Ask the target; none when there is no such table. The name is the event's, split at the
    /// first dot.
    pub(super) fn look_up(
        transaction: &mut Transaction<'_>,
        name: &str,
    ) -> Result<Option<Self>, Error> {
        // Exactly this name: no search path, no folding of case, no quotes.
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        let rows = transaction.query_typed(
            include_str!("columns.sql"),
            &[(&schema, Type::TEXT), (&table, Type::TEXT)],
        )?;
        if rows.is_empty() {
            return Ok(None);
        }
        if let Some(reached) = Permit::reaches(transaction, schema, table)? {
            return Err(Error::Refused(format!(
                "a write to table \"{name}\" reaches \"{reached}\": system and PgQ schemas, and temporary tables, are never written to"
            )));
        }
        let mut columns = BTreeMap::new();
        let mut equals = BTreeMap::new();
        let mut generated = Vec::new();
        for row in &rows {
            let column: String = row.try_get(0)?;
            if row.try_get(2)? {
                generated.push(column.clone());
            }
            equals.insert(column.clone(), row.try_get(3)?);
            columns.insert(column, row.try_get(1)?);
        }
        let rows = transaction.query_typed(
            include_str!("unique.sql"),
            &[(&schema, Type::TEXT), (&table, Type::TEXT)],
        )?;
        let unique = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let name = format!("{}.{}", identifier(schema), identifier(table));
        Ok(Some(Self { name, columns, equals, generated, unique }))
    }

    /// Can this change be applied here?
    pub(super) fn check(
        &mut self,
        transaction: &mut Transaction<'_>,
        event_id: i64,
        change: &RowChange,
    ) -> Result<(), Error> {
        let lacks = |table: &Self| {
            change.columns.iter().find(|(name, _)| !table.columns.contains_key(name)).cloned()
        };
        if lacks(self).is_some() {
            // It may have been added since we looked.
            if let Some(fresh) = Self::look_up(transaction, &change.table)? {
                *self = fresh;
            }
        }
        if let Some((name, _)) = lacks(self) {
            return Err(Error::Absent(format!(
                "event {event_id}, table \"{}\": the target has no column \"{name}\"",
                change.table
            )));
        }
        let needs_key = matches!(change.operation, Operation::Update | Operation::Delete);
        if needs_key && change.key.is_empty() {
            return Err(Error::Payload(format!(
                "event {event_id}, table \"{}\": update or delete without a key; name one with --key",
                change.table
            )));
        }
        if needs_key || change.operation == Operation::Insert {
            key_values(change).map_err(|error| match error {
                Error::Payload(what) => Error::Payload(format!("event {event_id}, {what}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Quoted, with schema.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Is it a column that can be given a value?
    pub(super) fn takes(&self, column: &str) -> bool {
        self.columns.contains_key(column) && !self.generated.iter().any(|own| own == column)
    }

    pub(super) fn truncate(&self) -> String {
        format!("truncate {}", self.name)
    }

    /// Delete what the changes delete.
    pub(super) fn delete(
        &self,
        transaction: &mut Transaction<'_>,
        pending: &Pending<'_>,
    ) -> Result<(), Error> {
        self.delete_keys(transaction, &pending.key, &pending.rows(true))
    }

    /// Write the last state of the rows the changes insert or update. A row that is there is
    /// changed, one that is not is added.
    pub(super) fn upsert(
        &self,
        transaction: &mut Transaction<'_>,
        pending: &Pending<'_>,
    ) -> Result<(), Error> {
        let rows = pending.rows(false);
        if rows.is_empty() {
            return Ok(());
        }
        let is_unique = self.is_unique(&pending.key);
        if !pending.key.is_empty() && !is_unique {
            self.delete_keys(transaction, &pending.key, &rows)?;
        }
        let columns: Vec<&str> = pending
            .columns
            .iter()
            .copied()
            .filter(|name| !self.generated.iter().any(|own| own == name))
            .collect();
        let conflict_key = if is_unique { pending.key.as_slice() } else { &[] };
        let sql = statement::insert(&self.name, &columns, |name| self.type_of(name), conflict_key);
        self.execute(transaction, &sql, &columns, &rows)
    }

    /// Statements that apply one change, each ended by a semicolon.
    pub(super) fn push_change(&self, sql: &mut String, change: &RowChange) -> Result<(), Error> {
        let type_of = |name: &str| self.type_of(name);
        let keys: Vec<&str> = change.key.iter().map(String::as_str).collect();
        let key: Vec<_> = keys.iter().copied().zip(key_values(change)?).collect();
        let is_unique = self.is_unique(&keys);
        if !key.is_empty() && (change.operation == Operation::Delete || !is_unique) {
            sql.push_str(&statement::delete_row(&self.name, &key, type_of, |name| {
                self.equality(name)
            }));
            sql.push_str(";\n");
        }
        if change.operation != Operation::Delete {
            let row: Vec<_> = change
                .columns
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_deref()))
                .filter(|(name, _)| !self.generated.iter().any(|own| own == name))
                .collect();
            let conflict_key = if is_unique { keys.as_slice() } else { &[] };
            sql.push_str(&statement::insert_row(&self.name, &row, type_of, conflict_key));
            sql.push_str(";\n");
        }
        Ok(())
    }

    /// Is there a unique index of exactly these columns?
    fn is_unique(&self, key: &[&str]) -> bool {
        let mut key = key.to_vec();
        key.sort_unstable();
        self.unique.iter().any(|columns| columns.iter().eq(key.iter()))
    }

    fn delete_keys(
        &self,
        transaction: &mut Transaction<'_>,
        key: &[&str],
        rows: &[&RowChange],
    ) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let sql = statement::delete(
            &self.name,
            key,
            |name| self.type_of(name),
            |name| self.equality(name),
        );
        self.execute(transaction, &sql, key, rows)
    }

    fn execute(
        &self,
        transaction: &mut Transaction<'_>,
        sql: &str,
        columns: &[&str],
        rows: &[&RowChange],
    ) -> Result<(), Error> {
        let arrays: Vec<Vec<Option<&str>>> = columns
            .iter()
            .map(|name| rows.iter().map(|row| row.column(name).flatten()).collect())
            .collect();
        let parameters: Vec<(&(dyn postgres::types::ToSql + Sync), Type)> = arrays
            .iter()
            .map(|array| -> (&(dyn postgres::types::ToSql + Sync), Type) {
                (array, Type::TEXT_ARRAY)
            })
            .collect();
        transaction.execute_typed(sql, &parameters)?;
        Ok(())
    }

    fn equality(&self, column: &str) -> &str {
        self.equals.get(column).map_or("operator(pg_catalog.=)", String::as_str)
    }

    fn type_of(&self, column: &str) -> &str {
        self.columns.get(column).map_or("text", String::as_str)
    }
}
