//! Changes into tables: set-wise, and where constraints forbid that, one by one.

use postgres::Transaction;

use super::table::{Pending, Table};
use super::{Applier, Placed};
use crate::change::{Operation, RowChange};
use crate::error::Error;

/// Bytes of statements that are sent together when changes are applied one by one.
const MESSAGE_BYTES: usize = 64 << 10;

impl Applier {
    pub(super) fn write(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &[Placed],
    ) -> Result<(), Error> {
        if self.row_by_row {
            return self.one_by_one(transaction, changes);
        }
        let mut attempt = transaction.transaction()?;
        match self.set_wise(&mut attempt, changes) {
            Ok(()) => Ok(attempt.commit()?),
            Err(error) if error.sqlstate().is_some_and(|code| code.starts_with("23")) => {
                attempt.rollback()?;
                log::debug!("applying row by row: {error}");
                self.one_by_one(transaction, changes)
            }
            Err(error) => Err(error),
        }
    }

    /// Each change by itself, in order; those that the target refuses are taken out of the list.
    pub(super) fn write_possible(
        &self,
        transaction: &mut Transaction<'_>,
        changes: &mut Vec<Placed>,
        left_out: &mut Vec<(usize, Error)>,
    ) -> Result<(), Error> {
        let mut written = Vec::with_capacity(changes.len());
        for change in changes.drain(..) {
            let mut attempt = transaction.transaction()?;
            match self.one_by_one(&mut attempt, std::slice::from_ref(&change)) {
                Ok(()) => {
                    attempt.commit()?;
                    written.push(change);
                }
                Err(error) if error.is_of_event() => {
                    attempt.rollback()?;
                    left_out.push((change.0, error));
                }
                Err(error) => return Err(error),
            }
        }
        *changes = written;
        Ok(())
    }

    fn set_wise(&self, transaction: &mut Transaction<'_>, changes: &[Placed]) -> Result<(), Error> {
        let mut pending: Vec<(&str, Pending<'_>)> = Vec::new();
        for (_, change) in changes {
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
        changes: &[Placed],
    ) -> Result<(), Error> {
        // Many statements in one message: the server runs them in order, and we wait once.
        let mut sql = String::new();
        for (_, change) in changes {
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
