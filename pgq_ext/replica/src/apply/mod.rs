//! Apply row changes to tables: what `pgq load` does with the events of logutriga and jsontriga.
//!
//! The changes of a page are reduced to the last state of each row and written set-wise: deletes,
//! then upserts, tables in the order in which they appear. Where constraints forbid that order, the
//! page is undone and applied row by row, as it happened.

mod exact;
mod pending;
mod permit;
mod statement;
mod table;
mod write;

use std::collections::BTreeMap;

use crate::change::{Captured, Operation, RowChange};
use crate::error::Error;
use crate::session::{Failure, Session};
use permit::Permit;

pub use table::Table;

/// Applies changes to one target database. It remembers the shape of the tables it has met.
#[derive(Debug, Default)]
pub struct Applier {
    names: BTreeMap<String, String>,
    keys: BTreeMap<String, Vec<String>>,
    skip_missing: bool,
    row_by_row: bool,
    exact: bool,
    cascade: bool,
    permit: Permit,
    tables: BTreeMap<String, Option<Table>>,
}

/// A change, and where in the page its event is.
type Placed = (usize, RowChange);

/// Events that cannot be applied: their place in the page, and why.
pub type LeftOut<E> = Vec<(usize, E)>;

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes applied.
    pub changes: u64,
    /// Events that are no row changes, or of tables that are left out.
    pub skipped: u64,
    /// Updates and deletes whose row was not there; counted by [`Applier::exact`] only.
    pub missed: u64,
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

    /// Take changes as they happened: an insert of a row that is there fails, and an update or
    /// delete of one that is not is counted. Otherwise a row that is there is changed, and one that
    /// is not is added.
    pub fn exact(&mut self, exact: bool) {
        self.exact = exact;
    }

    /// With TRUNCATE, empty also what refers to the table.
    pub fn truncate_cascades(&mut self, cascade: bool) {
        self.cascade = cascade;
    }

    /// Forget what is known of the target's tables: it may have changed since the last transaction.
    pub fn forget_tables(&mut self) {
        self.tables.clear();
    }

    /// The table of the target to which changes of this one go.
    pub fn target_of<'n>(&'n self, source: &'n str) -> &'n str {
        self.names.get(source).map_or(source, String::as_str)
    }

    /// May this table of the source be written, by its names?
    ///
    /// # Errors
    /// [`Error::Refused`] when not.
    pub fn may_write(&self, source: &str) -> Result<(), Error> {
        let probe = RowChange {
            operation: Operation::Insert,
            table: self.target_of(source).to_owned(),
            key: Vec::new(),
            columns: Vec::new(),
        };
        self.permit.check(0, source, &probe)
    }

    /// The table of the target to which changes of this one go, as the target has it; none when it
    /// is left out.
    ///
    /// # Errors
    /// [`Error::Absent`] when the target lacks it, [`Error::Refused`] when a write to it reaches
    /// what may not be written; the session's.
    pub fn look_up<S: Session>(
        &self,
        target: &mut S,
        source: &str,
    ) -> Result<Option<Table>, S::Error> {
        let name = self.target_of(source);
        match Table::look_up(target, name)? {
            None if !self.skip_missing => {
                Err(Error::Absent(format!("the target has no table \"{name}\"")).into())
            }
            found => Ok(found),
        }
    }

    /// Apply the changes of a page, in the caller's transaction.
    ///
    /// # Errors
    /// [`Error::Payload`] for an event that cannot be applied: bad encoding, no key.
    /// [`Error::Absent`] for a table or column the target does not have, [`Error::Refused`] for a
    /// table that may not be written to. The session's when the target refuses a row.
    pub fn apply<S: Session, E: Captured>(
        &mut self,
        target: &mut S,
        events: &[E],
    ) -> Result<Applied, S::Error> {
        let mut changes: Vec<Placed> = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            changes.extend(self.change(target, event)?.map(|change| (at, change)));
        }
        let missed = self.write(target, &changes)?;
        Ok(Applied::of(&changes, events, missed))
    }

    /// Apply the changes of a page but for those that cannot be: they are left out, and told by
    /// their event's place in the page and the reason.
    ///
    /// # Errors
    /// What is not a single event's fault; see [`Failure::is_of_event`].
    pub fn apply_possible<S: Session, E: Captured>(
        &mut self,
        target: &mut S,
        events: &[E],
    ) -> Result<(Applied, LeftOut<S::Error>), S::Error> {
        let mut changes: Vec<Placed> = Vec::with_capacity(events.len());
        let mut left_out = Vec::new();
        for (at, event) in events.iter().enumerate() {
            match self.change(target, event) {
                Ok(change) => changes.extend(change.map(|change| (at, change))),
                Err(error) if error.is_of_event() => left_out.push((at, error)),
                Err(error) => return Err(error),
            }
        }
        target.savepoint()?;
        let missed = match self.write(target, &changes) {
            Ok(missed) => {
                target.release()?;
                missed
            }
            Err(error) if error.is_of_event() => {
                target.roll_back()?;
                target
                    .remark(&format_args!("looking for the event that cannot be applied: {error}"));
                self.write_possible(target, &mut changes, &mut left_out)?
            }
            Err(error) => return Err(write::undo(target, error)),
        };
        left_out.sort_by_key(|(at, _)| *at);
        let mut applied = Applied::of(&changes, events, missed);
        applied.skipped -= count(left_out.len());
        Ok((applied, left_out))
    }

    /// The change of an event, checked against the target; none for an event that is no change, or
    /// of a table that is left out.
    fn change<S: Session>(
        &mut self,
        target: &mut S,
        event: &impl Captured,
    ) -> Result<Option<RowChange>, S::Error> {
        match RowChange::of(event)? {
            Some(change) => self.locate(target, event.id(), change),
            None if matches!(event.kind(), "I" | "U" | "D") => Err(Error::Payload(format!(
                "event {} is of sqltriga: only events of logutriga and jsontriga can be applied",
                event.id()
            ))
            .into()),
            None => Ok(None),
        }
    }

    /// The change with its target's name and key; none when the table is left out.
    fn locate<S: Session>(
        &mut self,
        target: &mut S,
        event_id: i64,
        mut change: RowChange,
    ) -> Result<Option<RowChange>, S::Error> {
        if let Some(key) = self.keys.get(&change.table) {
            change.key.clone_from(key);
        }
        let source = change.table.clone();
        if let Some(name) = self.names.get(&source) {
            change.table.clone_from(name);
        }
        self.permit.check(event_id, &source, &change)?;
        if !self.tables.contains_key(&change.table) {
            let table = Table::look_up_for(target, &change.table, Some(event_id))?;
            self.tables.insert(change.table.clone(), table);
        }
        let Some(table) = self.tables.get_mut(&change.table).and_then(Option::as_mut) else {
            if self.skip_missing {
                return Ok(None);
            }
            return Err(Error::Absent(format!(
                "event {event_id}: the target has no table \"{}\"",
                change.table
            ))
            .into());
        };
        table.check(target, event_id, &change)?;
        Ok(Some(change))
    }
}

impl Applied {
    fn of<E>(changes: &[Placed], events: &[E], missed: u64) -> Self {
        let skipped = count(events.len() - changes.len());
        Self { changes: count(changes.len()), skipped, missed }
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).expect("usize has at most 64 bits")
}
