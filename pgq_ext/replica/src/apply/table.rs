//! A target table, and the statements that write to it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::pending::{Key, Pending, key_values};
use super::permit::Permit;
use super::statement;
use crate::change::{Operation, RowChange};
use crate::error::Error;
use crate::name;
use crate::session::{Argument, Session};

/// What is known of a target table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Quoted, with schema.
    name: String,
    /// Column and type, the type as SQL.
    columns: BTreeMap<String, String>,
    /// Column and its type's equality, as an operator with schema.
    equals: BTreeMap<String, String>,
    /// Column and what makes one text of all texts of a value, as SQL with % for the value; without
    /// those whose values have many texts that nothing makes one.
    sameness: BTreeMap<String, String>,
    /// Generated columns, which compute themselves.
    generated: Vec<String>,
    /// It is a table that may have inheriting ones, whose rows are their own.
    alone: bool,
    /// Key column sets that a unique index enforces, each sorted.
    unique: Vec<Vec<String>>,
}

impl Table {
    /// Ask the target; none when there is no such table. The name is the event's, split at the
    /// first dot: exactly this one, without search path, folding of case, or quotes.
    ///
    /// # Errors
    /// [`Error::Refused`] when a write to it reaches what may not be written; the session's.
    pub fn look_up<S: Session>(session: &mut S, name: &str) -> Result<Option<Self>, S::Error> {
        Self::look_up_for(session, name, None)
    }

    /// As [`Table::look_up`]; a refusal names the event.
    pub(super) fn look_up_for<S: Session>(
        session: &mut S,
        name: &str,
        event_id: Option<i64>,
    ) -> Result<Option<Self>, S::Error> {
        let (schema, table) = name::split(name);
        let arguments = [Argument::from(schema), table.into()];
        let rows = session.rows(include_str!("columns.sql"), &arguments)?;
        if rows.is_empty() {
            return Ok(None);
        }
        if let Some(reached) = Permit::reaches(session, schema, table)? {
            let event = event_id.map(|id| format!("event {id}: ")).unwrap_or_default();
            return Err(Error::Refused(format!(
                "{event}a write to table \"{name}\" reaches \"{reached}\": system and PgQ schemas, and temporary tables, are never written to"
            ))
            .into());
        }
        let alone = rows.first().map(|row| row.text(4)).transpose()? == Some("r");
        let mut columns = BTreeMap::new();
        let mut equals = BTreeMap::new();
        let mut sameness = BTreeMap::new();
        let mut generated = Vec::new();
        for row in &rows {
            let column = row.text(0)?;
            if row.flag(2)? {
                generated.push(column.to_owned());
            }
            columns.insert(column.to_owned(), row.text(1)?.to_owned());
            equals.insert(column.to_owned(), row.text(3)?.to_owned());
            if let Some(one_text) = row.get(5)? {
                sameness.insert(column.to_owned(), one_text.to_owned());
            }
        }
        let mut unique: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in session.rows(include_str!("unique.sql"), &arguments)? {
            unique.entry(row.text(0)?.to_owned()).or_default().push(row.text(1)?.to_owned());
        }
        let mut unique: Vec<_> = unique.into_values().collect();
        unique.iter_mut().for_each(|columns| columns.sort_unstable());
        let name = name::quoted(name);
        Ok(Some(Self { name, columns, equals, sameness, generated, alone, unique }))
    }

    /// Can this change be applied here?
    pub(super) fn check<S: Session>(
        &mut self,
        session: &mut S,
        event_id: i64,
        change: &RowChange,
    ) -> Result<(), S::Error> {
        let lacks = |table: &Self| {
            change.columns.iter().find(|(name, _)| !table.columns.contains_key(name)).cloned()
        };
        if lacks(self).is_some() {
            // It may have been added since we looked.
            if let Some(fresh) = Self::look_up(session, &change.table)? {
                *self = fresh;
            }
        }
        if let Some((name, _)) = lacks(self) {
            return Err(Error::Absent(format!(
                "event {event_id}, table \"{}\": the target has no column \"{name}\"",
                change.table
            ))
            .into());
        }
        let needs_key = matches!(change.operation, Operation::Update | Operation::Delete);
        if needs_key && change.key.is_empty() {
            return Err(Error::Payload(format!(
                "event {event_id}, table \"{}\": update or delete without a key; name one with --key",
                change.table
            ))
            .into());
        }
        if needs_key || change.operation == Operation::Insert {
            key_values(change).map_err(|error| match error {
                Error::Payload(what) => Error::Payload(format!("event {event_id}, {what}")),
                other => other,
            })?;
        }
        Ok(())
    }

    /// Its name as SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It without tables that inherit from it, as SQL.
    pub fn name_alone(&self) -> String {
        if self.alone { format!("only {}", self.name) } else { self.name.clone() }
    }

    /// Is it a column that can be given a value?
    pub fn takes(&self, column: &str) -> bool {
        self.columns.contains_key(column) && !self.computes(column)
    }

    /// The statement that empties it; with `cascade` also what refers to it.
    pub(super) fn truncate(&self, cascade: bool) -> String {
        format!("truncate {}{}", self.name, if cascade { " cascade" } else { "" })
    }

    /// Delete what the changes delete.
    pub(super) fn delete<S: Session>(
        &self,
        session: &mut S,
        pending: &Pending<'_>,
    ) -> Result<(), S::Error> {
        self.delete_keys(session, &self.name, &pending.key, &pending.gone())?;
        Ok(())
    }

    /// Write the last state of the rows the changes insert or update. A row that is there is
    /// changed, one that is not is added.
    pub(super) fn upsert<S: Session>(
        &self,
        session: &mut S,
        pending: &Pending<'_>,
    ) -> Result<(), S::Error> {
        let rows = pending.present();
        if rows.is_empty() {
            return Ok(());
        }
        let is_unique = self.is_unique(&pending.key);
        if !pending.key.is_empty() && !is_unique {
            self.delete_keys(session, &self.name, &pending.key, &rows)?;
        }
        let columns = self.given(&pending.columns);
        let conflict_key = if is_unique { pending.key.as_slice() } else { &[] };
        let sql = statement::insert(&self.name, &columns, |name| self.type_of(name), conflict_key);
        self.execute(session, &sql, &columns, &rows)?;
        Ok(())
    }

    /// The columns that are given a value: those that do not compute themselves.
    pub(super) fn given<'c>(&self, columns: &[&'c str]) -> Vec<&'c str> {
        columns.iter().copied().filter(|name| !self.computes(name)).collect()
    }

    /// Those of a change, with their values.
    pub(super) fn given_values<'c>(
        &self,
        change: &'c RowChange,
    ) -> Vec<(&'c str, Option<&'c str>)> {
        let values = change.columns.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        values.filter(|(name, _)| !self.computes(name)).collect()
    }

    fn computes(&self, column: &str) -> bool {
        self.generated.iter().any(|own| own == column)
    }

    /// Statements that apply one change, each ended by a semicolon.
    pub(super) fn push_change(&self, sql: &mut String, change: &RowChange) -> Result<(), Error> {
        let type_of = |name: &str| self.type_of(name);
        let keys: Vec<&str> = change.key.iter().map(String::as_str).collect();
        let values = key_values(change)?;
        let key: Vec<_> = keys.iter().copied().zip(values.iter().map(Option::as_deref)).collect();
        let is_unique = self.is_unique(&keys);
        if !key.is_empty() && (change.operation == Operation::Delete || !is_unique) {
            sql.push_str(&statement::delete_row(&self.name, &key, type_of, |name| {
                self.equality(name)
            }));
            sql.push_str(";\n");
        }
        if change.operation != Operation::Delete {
            let row = self.given_values(change);
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

    /// Can rows be told apart by a text of this key?
    pub(super) fn tells_apart(&self, key: &[String]) -> bool {
        key.iter().all(|name| self.sameness.contains_key(name))
    }

    /// The keys of these changes, which all have the same columns: equal where the table takes the
    /// values for equal, however the sessions that wrote them show times, bytes or numbers.
    pub(super) fn keys<'c, S: Session>(
        &self,
        session: &mut S,
        changes: &[&'c RowChange],
    ) -> Result<Vec<Key<'c>>, S::Error> {
        let mut keys =
            changes.iter().map(|change| key_values(change)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = changes.first() else { return Ok(keys) };
        let shown: Vec<_> = first
            .key
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some((at, name, self.sameness.get(name)?)))
            .filter(|(_, _, one_text)| *one_text != "%")
            .collect();
        if shown.is_empty() {
            return Ok(keys);
        }
        let columns: Vec<_> = shown
            .iter()
            .map(|(_, name, one_text)| (one_text.as_str(), self.type_of(name)))
            .collect();
        let arrays: Vec<Vec<Option<&str>>> = shown
            .iter()
            .map(|(_, name, _)| {
                changes.iter().map(|change| change.column(name).flatten()).collect()
            })
            .collect();
        let arguments: Vec<_> = arrays.iter().map(|array| Argument::Texts(array)).collect();
        let rows = session.rows(&statement::one_texts(&columns), &arguments)?;
        if rows.len() != keys.len() {
            return Err(Error::Answer(format!("{} keys of {}", rows.len(), keys.len())).into());
        }
        for (key, row) in keys.iter_mut().zip(&rows) {
            for (column, (at, _, _)) in shown.iter().enumerate() {
                key[*at] = row.get(column)?.map(|text| Cow::Owned(text.to_owned()));
            }
        }
        Ok(keys)
    }

    /// Delete the rows of these changes by key; how many there were.
    pub(super) fn delete_keys<S: Session>(
        &self,
        session: &mut S,
        name: &str,
        key: &[&str],
        rows: &[&RowChange],
    ) -> Result<u64, S::Error> {
        if rows.is_empty() {
            return Ok(0);
        }
        let sql =
            statement::delete(name, key, |name| self.type_of(name), |name| self.equality(name));
        self.execute(session, &sql, key, rows)
    }

    /// Run a statement over arrays, one a column; how many rows it has written.
    pub(super) fn execute<S: Session>(
        &self,
        session: &mut S,
        sql: &str,
        columns: &[&str],
        rows: &[&RowChange],
    ) -> Result<u64, S::Error> {
        let arrays: Vec<Vec<Option<&str>>> = columns
            .iter()
            .map(|name| rows.iter().map(|row| row.column(name).flatten()).collect())
            .collect();
        let arguments: Vec<_> = arrays.iter().map(|array| Argument::Texts(array)).collect();
        session.execute(sql, &arguments)
    }

    pub(super) fn equality(&self, column: &str) -> &str {
        self.equals.get(column).map_or("operator(pg_catalog.=)", String::as_str)
    }

    pub(super) fn type_of(&self, column: &str) -> &str {
        self.columns.get(column).map_or("pg_catalog.text", String::as_str)
    }
}
