//! Apply row changes to tables: what `pgq load` does with the events of logutriga and jsontriga.
//!
//! The changes of a page are reduced to the last state of each row and written set-wise: deletes, then upserts, tables in the order in
//! which they appear. Where constraints forbid that order, the page is undone and applied row by row, as it happened.

mod statement;
mod table;

use std::collections::BTreeMap;

use postgres::Transaction;

use crate::change::{Operation, RowChange};
use crate::error::Error;
use crate::event::Event;
use table::{Pending, Table};

/// Bytes of statements that are sent together when changes are applied one by one.
const MESSAGE_BYTES: usize = 64 << 10;

/// Applies changes to one target database. It remembers the shape of the tables it has met.
#[derive(Debug, Default)]
pub struct Applier {
    names: BTreeMap<String, String>,
    keys: BTreeMap<String, Vec<String>>,
    skip_missing: bool,
    row_by_row: bool,
    tables: BTreeMap<String, Option<Table>>,
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes applied.
    pub changes: u64,
    /// Events that are no row changes, or of tables that are left out.
    pub skipped: u64,
}

impl Applier {
    /// An applier that writes each change to the table of the same name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Write changes of table `source` to table `target`.
    pub fn map_table(&mut self, source: &str, target: &str) {
        self.names.insert(source.to_owned(), target.to_owned());
    }

    /// Use these columns as the key of table `source`, instead of those the event names.
    pub fn set_key(&mut self, source: &str, columns: Vec<String>) {
        self.keys.insert(source.to_owned(), columns);
    }

    /// Leave out changes of tables that the target does not have, instead of failing.
    pub fn skip_missing(&mut self, skip: bool) {
        self.skip_missing = skip;
    }

    /// Apply each change by a statement of its own, always.
    pub fn row_by_row(&mut self, always: bool) {
        self.row_by_row = always;
    }

    /// Forget what is known of the target's tables: it may have changed since the last transaction.
    pub fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// Apply the changes of a page, in the caller's transaction.
    ///
    /// # Errors
    /// [`Error::Payload`] for an event that cannot be applied: bad encoding, no key, a table or column the target does not have.
    /// [`Error::Server`] when the target refuses a row.
    pub fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        let mut changes = Vec::with_capacity(events.len());
        for event in events {
            match event.change()? {
                Some(change) => changes.extend(self.locate(transaction, event, change)?),
                None if matches!(event.kind(), "I" | "U" | "D") => {
                    return Err(Error::Payload(format!(
                        "event {} is of sqltriga; load takes events of logutriga and jsontriga",
                        event.id
                    )));
                }
                None => {}
            }
        }
        applied.changes = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        applied.skipped = u64::try_from(events.len() - changes.len()).unwrap_or(u64::MAX);
        if self.row_by_row {
            self.one_by_one(transaction, &changes)?;
            return Ok(applied);
        }
        let mut attempt = transaction.transaction()?;
        match self.set_wise(&mut attempt, &changes) {
            Ok(()) => attempt.commit()?,
            Err(error) if error.sqlstate().is_some_and(|code| code.starts_with("23")) => {
                attempt.rollback()?;
                log::debug!("applying row by row: {error}");
                self.one_by_one(transaction, &changes)?;
            }
            Err(error) => return Err(error),
        }
        Ok(applied)
    }

    /// The change with its target's name and key; none when the table is left out.
    fn locate(
        &mut self,
        transaction: &mut Transaction<'_>,
        event: &Event,
        mut change: RowChange,
    ) -> Result<Option<RowChange>, Error> {
        if let Some(key) = self.keys.get(&change.table) {
            change.key.clone_from(key);
        }
        if let Some(name) = self.names.get(&change.table) {
            change.table.clone_from(name);
        }
        if !self.tables.contains_key(&change.table) {
            let table = Table::look_up(transaction, &change.table)?;
            self.tables.insert(change.table.clone(), table);
        }
        let Some(table) = self.tables.get_mut(&change.table).and_then(Option::as_mut) else {
            if self.skip_missing {
                return Ok(None);
            }
            return Err(Error::Payload(format!(
                "event {}: the target has no table \"{}\"",
                event.id, change.table
            )));
        };
        table.check(transaction, event.id, &change)?;
        Ok(Some(change))
    }

    fn set_wise(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &[RowChange],
    ) -> Result<(), Error> {
        let mut pending: Vec<(&str, Pending<'_>)> = Vec::new();
        for change in changes {
            let at = pending.iter().position(|(name, _)| *name == change.table);
            let fits = at.is_none_or(|at| pending[at].1.takes(change));
            if !fits || change.operation == Operation::Truncate {
                self.flush(transaction, &mut pending)?;
            }
            if change.operation == Operation::Truncate {
                transaction.batch_execute(&self.table(change)?.truncate())?;
                continue;
            }
            match pending.iter_mut().find(|(name, _)| *name == change.table) {
                Some((_, pending)) => pending.add(change)?,
                None => {
                    let mut new = Pending::default();
                    new.add(change)?;
                    pending.push((&change.table, new));
                }
            }
        }
        self.flush(transaction, &mut pending)
    }

    fn flush(
        &self,
        transaction: &mut Transaction<'_>,
        pending: &mut Vec<(&str, Pending<'_>)>,
    ) -> Result<(), Error> {
        let known = |name: &str| {
            self.tables.get(name).and_then(Option::as_ref).ok_or_else(|| unknown(name))
        };
        for (name, changes) in pending.iter() {
            known(name)?.delete(transaction, changes)?;
        }
        for (name, changes) in pending.iter() {
            known(name)?.upsert(transaction, changes)?;
        }
        pending.clear();
        Ok(())
    }

    fn one_by_one(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &[RowChange],
    ) -> Result<(), Error> {
        // Many statements in one message: the server runs them in order, and we wait once.
        let mut sql = String::new();
        for change in changes {
            let table = self.table(change)?;
            match change.operation {
                Operation::Truncate => sql.push_str(&format!("{};\n", table.truncate())),
                _ => table.push_change(&mut sql, change)?,
            }
            if sql.len() >= MESSAGE_BYTES {
                transaction.batch_execute(&sql)?;
                sql.clear();
            }
        }
        if !sql.is_empty() {
            transaction.batch_execute(&sql)?;
        }
        Ok(())
    }

    fn table(&self, change: &RowChange) -> Result<&Table, Error> {
        self.tables
            .get(&change.table)
            .and_then(Option::as_ref)
            .ok_or_else(|| unknown(&change.table))
    }
}

fn unknown(table: &str) -> Error {
    Error::Payload(format!("the target has no table \"{table}\""))
}
