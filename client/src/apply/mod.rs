//! Apply row changes to tables: what `pgq load` does with the events of logutriga and jsontriga.
//!
//! The changes of a page are reduced to the last state of each row and written set-wise: deletes,
//! then upserts, tables in the order in which they appear. Where constraints forbid that order, the
//! page is undone and applied row by row, as it happened.

mod copy;
mod permit;
mod statement;
mod table;
mod write;

use std::collections::BTreeMap;

use postgres::Transaction;

use crate::change::RowChange;
use crate::error::Error;
use crate::event::Event;
use crate::stats::count;
use permit::Permit;
use table::Table;

/// Applies changes to one target database. It remembers the shape of the tables it has met.
#[derive(Debug, Default)]
pub struct Applier {
    names: BTreeMap<String, String>,
    keys: BTreeMap<String, Vec<String>>,
    skip_missing: bool,
    row_by_row: bool,
    permit: Permit,
    tables: BTreeMap<String, Option<Table>>,
}

/// A change, and where in the page its event is.
type Placed = (usize, RowChange);

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes applied.
    pub changes: u64,
    /// Events that are no row changes, or of tables that are left out.
    pub skipped: u64,
}

impl Applier {
    /// An applier that writes each change to the table of the same name, unless that is a table of
    /// the server, of PgQ or of a session: those it never writes to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Write only to tables of these patterns (`schema.table`, with `*` and `?`), and to those of
    /// [`Applier::map_table`]. May be called more than once. An event that names another is
    /// refused.
    pub fn only(&mut self, pattern: &str) {
        self.permit.allow(pattern);
    }

    /// Apply TRUNCATE. Otherwise it is refused.
    pub fn allow_truncate(&mut self, allow: bool) {
        self.permit.allow_truncate(allow);
    }

    /// Write changes of table `source` to table `target`.
    pub fn map_table(&mut self, source: &str, target: &str) {
        self.permit.allow_mapped(source);
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
    /// [`Error::Payload`] for an event that cannot be applied: bad encoding, no key.
    /// [`Error::Absent`] for a table or column the target does not have, [`Error::Refused`] for a
    /// table that may not be written to. [`Error::Server`] when the target refuses a row.
    pub fn apply(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<Applied, Error> {
        let mut changes: Vec<Placed> = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            changes.extend(self.change(transaction, event)?.map(|change| (at, change)));
        }
        self.write(transaction, &changes)?;
        Ok(Applied::of(&changes, events))
    }

    /// Apply the changes of a page but for those that cannot be: they are left out, and told by
    /// their event's place in the page and the reason.
    ///
    /// # Errors
    /// What is not a single event's fault; see [`Error::is_of_event`].
    pub fn apply_possible(
        &mut self,
        transaction: &mut Transaction<'_>,
        events: &[Event],
    ) -> Result<(Applied, Vec<(usize, Error)>), Error> {
        let mut changes: Vec<Placed> = Vec::with_capacity(events.len());
        let mut left_out = Vec::new();
        for (at, event) in events.iter().enumerate() {
            match self.change(transaction, event) {
                Ok(change) => changes.extend(change.map(|change| (at, change))),
                Err(error) if error.is_of_event() => left_out.push((at, error)),
                Err(error) => return Err(error),
            }
        }
        let mut attempt = transaction.transaction()?;
        match self.write(&mut attempt, &changes) {
            Ok(()) => attempt.commit()?,
            Err(error) if error.is_of_event() => {
                attempt.rollback()?;
                log::debug!("looking for the event that cannot be applied: {error}");
                self.write_possible(transaction, &mut changes, &mut left_out)?;
            }
            Err(error) => return Err(error),
        }
        left_out.sort_by_key(|(at, _)| *at);
        let mut applied = Applied::of(&changes, events);
        applied.skipped -= count(left_out.len());
        Ok((applied, left_out))
    }

    /// The change of an event, checked against the target; none for an event that is no change, or
    /// of a table that is left out.
    fn change(
        &mut self,
        transaction: &mut Transaction<'_>,
        event: &Event,
    ) -> Result<Option<RowChange>, Error> {
        match event.change()? {
            Some(change) => self.locate(transaction, event, change),
            None if matches!(event.kind(), "I" | "U" | "D") => Err(Error::Payload(format!(
                "event {} is of sqltriga; load takes events of logutriga and jsontriga",
                event.id
            ))),
            None => Ok(None),
        }
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
        let source = change.table.clone();
        if let Some(name) = self.names.get(&source) {
            change.table.clone_from(name);
        }
        self.permit.check(event.id, &source, &change)?;
        if !self.tables.contains_key(&change.table) {
            let table =
                Table::look_up(transaction, &change.table).map_err(|error| match error {
                    Error::Refused(what) => Error::Refused(format!("event {}: {what}", event.id)),
                    other => other,
                })?;
            self.tables.insert(change.table.clone(), table);
        }
        let Some(table) = self.tables.get_mut(&change.table).and_then(Option::as_mut) else {
            if self.skip_missing {
                return Ok(None);
            }
            return Err(Error::Absent(format!(
                "event {}: the target has no table \"{}\"",
                event.id, change.table
            )));
        };
        table.check(transaction, event.id, &change)?;
        Ok(Some(change))
    }
}

impl Applied {
    fn of(changes: &[Placed], events: &[Event]) -> Self {
        Self { changes: count(changes.len()), skipped: count(events.len() - changes.len()) }
    }
}
