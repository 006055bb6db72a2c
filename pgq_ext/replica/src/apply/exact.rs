//! Changes as they happened: an insert adds a row that is not there, an update changes one that is.

use super::pending::{Pending, key_values};
use super::statement;
use super::table::Table;
use crate::change::{Operation, RowChange};
use crate::session::Session;

impl Table {
    /// Delete the rows that were there and were deleted; how many of them were not.
    pub(super) fn delete_exactly<S: Session>(
        &self,
        session: &mut S,
        pending: &Pending<'_>,
    ) -> Result<u64, S::Error> {
        let rows = pending.deleted();
        Ok(missed(&rows, self.delete_keys(session, &self.name_alone(), &pending.key, &rows)?))
    }

    /// Change the rows that were there all the time; how many of them were not.
    pub(super) fn update_exactly<S: Session>(
        &self,
        session: &mut S,
        pending: &Pending<'_>,
    ) -> Result<u64, S::Error> {
        let rows = pending.updated();
        let key = &pending.key;
        let mut given = self.given(&pending.columns);
        given.retain(|name| !key.contains(name));
        let sql = statement::update(
            &self.name_alone(),
            key,
            &given,
            |name| self.type_of(name),
            |name| self.equality(name),
        );
        match sql {
            Some(sql) if !rows.is_empty() => {
                let columns = [key.as_slice(), &given].concat();
                Ok(missed(&rows, self.execute(session, &sql, &columns, &rows)?))
            }
            _ => Ok(0),
        }
    }

    /// Add the rows that were not there.
    pub(super) fn insert_exactly<S: Session>(
        &self,
        session: &mut S,
        pending: &Pending<'_>,
    ) -> Result<(), S::Error> {
        let rows = pending.inserted();
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.given(&pending.columns);
        let sql = statement::insert(self.name(), &columns, |name| self.type_of(name), &[]);
        self.execute(session, &sql, &columns, &rows)?;
        Ok(())
    }

    /// Apply one change; 1 when its row is not there.
    pub(super) fn change_exactly<S: Session>(
        &self,
        session: &mut S,
        change: &RowChange,
    ) -> Result<u64, S::Error> {
        let type_of = |name: &str| self.type_of(name);
        let equality = |name: &str| self.equality(name);
        let names = change.key.iter().map(String::as_str);
        let values = match change.operation {
            Operation::Insert => Vec::new(),
            _ => key_values(change)?,
        };
        let key: Vec<_> = names.zip(values.iter().map(Option::as_deref)).collect();
        let row = self.given_values(change);
        let sql = match change.operation {
            Operation::Insert => Some(statement::insert_row(self.name(), &row, type_of, &[])),
            Operation::Update => {
                statement::update_row(&self.name_alone(), &row, &key, type_of, equality)
            }
            Operation::Delete => {
                Some(statement::delete_row(&self.name_alone(), &key, type_of, equality))
            }
            // Written by whoever knows whether others are to be emptied with it.
            Operation::Truncate => None,
        };
        let Some(sql) = sql else { return Ok(0) };
        let written = session.execute(&sql, &[])?;
        let needs_row = matches!(change.operation, Operation::Update | Operation::Delete);
        Ok(u64::from(needs_row && written == 0))
    }
}

fn missed(rows: &[&RowChange], written: u64) -> u64 {
    super::count(rows.len()).saturating_sub(written)
}
