//! Changes into tables: set-wise, and where constraints forbid that, one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::pending::{Key, Pending};
use super::table::Table;
use super::{Applier, LeftOut, Placed};
use crate::change::{Operation, RowChange};
use crate::error::Error;
use crate::session::{Failure, Session};

/// Bytes of statements that are sent together when changes are applied one by one.
const MESSAGE_BYTES: usize = 64 << 10;

/// Changes that wait to be written.
#[derive(Default)]
struct Page<'c> {
    /// By table, reduced.
    pending: Vec<(&'c str, Pending<'c>)>,
    /// Of tables whose rows only the server tells apart, and what these are.
    in_order: Vec<&'c RowChange>,
    ordered: BTreeSet<&'c str>,
}

impl Page<'_> {
    /// Can the change be written after or together with what waits?
    fn takes(&self, change: &RowChange, has_key: bool) -> bool {
        let pending = self.pending.iter().find(|(name, _)| *name == change.table);
        match has_key {
            true => {
                !self.ordered.contains(change.table.as_str())
                    && pending.is_none_or(|(_, pending)| pending.takes(change))
            }
            false => pending.is_none(),
        }
    }
}

impl Applier {
    pub(super) fn write<S: Session>(
        &self,
        target: &mut S,
        changes: &[Placed],
    ) -> Result<u64, S::Error> {
        if self.row_by_row {
            return self.one_by_one(target, changes.iter().map(|(_, change)| change));
        }
        target.savepoint()?;
        match self.set_wise(target, changes) {
            Ok(missed) => {
                target.release()?;
                Ok(missed)
            }
            Err(error) if error.sqlstate().is_some_and(|code| code.starts_with("23")) => {
                target.roll_back()?;
                target.remark(&format_args!("applying row by row: {error}"));
                self.one_by_one(target, changes.iter().map(|(_, change)| change))
            }
            Err(error) => Err(undo(target, error)),
        }
    }

    /// Each change by itself, in order; those that the target refuses are taken out of the list.
    pub(super) fn write_possible<S: Session>(
        &self,
        target: &mut S,
        changes: &mut Vec<Placed>,
        left_out: &mut LeftOut<S::Error>,
    ) -> Result<u64, S::Error> {
        let mut missed = 0;
        let mut written = Vec::with_capacity(changes.len());
        for change in changes.drain(..) {
            target.savepoint()?;
            match self.one_by_one(target, [&change.1]) {
                Ok(more) => {
                    target.release()?;
                    missed += more;
                    written.push(change);
                }
                Err(error) if error.is_of_event() => {
                    target.roll_back()?;
                    left_out.push((change.0, error));
                }
                Err(error) => return Err(undo(target, error)),
            }
        }
        *changes = written;
        Ok(missed)
    }

    fn set_wise<S: Session>(&self, target: &mut S, changes: &[Placed]) -> Result<u64, S::Error> {
        let keys = self.keys(target, changes)?;
        let mut missed = 0;
        let mut page = Page::default();
        for ((_, change), key) in changes.iter().zip(keys) {
            if change.operation == Operation::Truncate || !page.takes(change, key.is_some()) {
                missed += self.flush(target, &mut page)?;
            }
            if change.operation == Operation::Truncate {
                target.run(&self.table(change)?.truncate(self.cascade))?;
                continue;
            }
            let Some(key) = key else {
                page.in_order.push(change);
                page.ordered.insert(&change.table);
                continue;
            };
            match page.pending.iter_mut().find(|(name, _)| *name == change.table) {
                Some((_, pending)) => pending.add(change, key),
                None => {
                    let mut new = Pending::default();
                    new.add(change, key);
                    page.pending.push((&change.table, new));
                }
            }
        }
        Ok(missed + self.flush(target, &mut page)?)
    }

    /// The keys of changes, by which those of a row are found; none for a change of a table where a
    /// value of the key may be written in many ways.
    fn keys<'c, S: Session>(
        &self,
        target: &mut S,
        changes: &'c [Placed],
    ) -> Result<Vec<Option<Key<'c>>>, S::Error> {
        let mut keys: Vec<Option<Key<'c>>> = vec![None; changes.len()];
        let mut groups: BTreeMap<(&str, &[String]), Vec<usize>> = BTreeMap::new();
        for (at, (_, change)) in changes.iter().enumerate() {
            let is_known = self.table(change)?.tells_apart(&change.key);
            if is_known && change.operation != Operation::Truncate {
                groups.entry((&change.table, &change.key)).or_default().push(at);
            }
        }
        for places in groups.into_values() {
            let group: Vec<&RowChange> = places.iter().map(|at| &changes[*at].1).collect();
            let Some(first) = group.first() else { continue };
            let found = self.table(first)?.keys(target, &group)?;
            for (at, key) in places.into_iter().zip(found) {
                keys[at] = Some(key);
            }
        }
        Ok(keys)
    }

    fn flush<S: Session>(&self, target: &mut S, page: &mut Page<'_>) -> Result<u64, S::Error> {
        let Page { pending, in_order, .. } = std::mem::take(page);
        let known = |name: &str| {
            self.tables.get(name).and_then(Option::as_ref).ok_or_else(|| unknown(name))
        };
        let mut missed = 0;
        if self.exact {
            for (name, changes) in &pending {
                missed += known(name)?.delete_exactly(target, changes)?;
            }
            for (name, changes) in &pending {
                missed += known(name)?.update_exactly(target, changes)?;
            }
            for (name, changes) in &pending {
                known(name)?.insert_exactly(target, changes)?;
            }
        } else {
            for (name, changes) in &pending {
                known(name)?.delete(target, changes)?;
            }
            for (name, changes) in &pending {
                known(name)?.upsert(target, changes)?;
            }
        }
        Ok(missed + self.one_by_one(target, in_order)?)
    }

    fn one_by_one<'c, S: Session>(
        &self,
        target: &mut S,
        changes: impl IntoIterator<Item = &'c RowChange>,
    ) -> Result<u64, S::Error> {
        let mut missed = 0;
        // Where rows are not counted, many statements in one message: the server runs them in
        // order, and we wait once.
        let mut sql = String::new();
        for change in changes {
            let table = self.table(change)?;
            match change.operation {
                Operation::Truncate => {
                    sql.push_str(&format!("{};\n", table.truncate(self.cascade)));
                }
                _ if self.exact => {
                    if !sql.is_empty() {
                        target.run(&std::mem::take(&mut sql))?;
                    }
                    missed += table.change_exactly(target, change)?;
                }
                _ => table.push_change(&mut sql, change)?,
            }
            if sql.len() >= MESSAGE_BYTES {
                target.run(&sql)?;
                sql.clear();
            }
        }
        if !sql.is_empty() {
            target.run(&sql)?;
        }
        Ok(missed)
    }

    fn table(&self, change: &RowChange) -> Result<&Table, Error> {
        self.tables
            .get(&change.table)
            .and_then(Option::as_ref)
            .ok_or_else(|| unknown(&change.table))
    }
}

/// Leave no savepoint behind an error: whoever ends the transaction would end that alone. Where
/// even this fails the connection is gone, and the first error says more.
pub(super) fn undo<S: Session>(target: &mut S, error: S::Error) -> S::Error {
    if let Err(second) = target.roll_back() {
        target.remark(&format_args!("no return to the savepoint: {second}"));
    }
    error
}

fn unknown(table: &str) -> Error {
    Error::Payload(format!("the target has no table \"{table}\""))
}

#[cfg(test)]
mod tests {
    use super::{Applier, Error, Failure, Operation, RowChange, Session};
    use crate::session::{Argument, Row};

    /// A session that counts its savepoints, and fails in whatever is asked of it.
    #[derive(Default)]
    struct Failing {
        savepoints: u32,
    }

    #[derive(Debug)]
    struct Lost;

    impl std::fmt::Display for Lost {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("lost")
        }
    }

    impl From<Error> for Lost {
        fn from(_: Error) -> Self {
            Self
        }
    }

    impl Failure for Lost {
        fn sqlstate(&self) -> Option<&str> {
            None
        }

        fn is_answer(&self) -> bool {
            false
        }

        fn is_of_event(&self) -> bool {
            false
        }
    }

    impl Session for Failing {
        type Error = Lost;

        fn rows(&mut self, _: &str, _: &[Argument<'_>]) -> Result<Vec<Row>, Lost> {
            Err(Lost)
        }

        fn execute(&mut self, _: &str, _: &[Argument<'_>]) -> Result<u64, Lost> {
            Err(Lost)
        }

        fn run(&mut self, _: &str) -> Result<(), Lost> {
            Err(Lost)
        }

        fn savepoint(&mut self) -> Result<(), Lost> {
            self.savepoints += 1;
            Ok(())
        }

        fn release(&mut self) -> Result<(), Lost> {
            self.savepoints -= 1;
            Ok(())
        }

        fn roll_back(&mut self) -> Result<(), Lost> {
            self.release()
        }
    }

    #[test]
    fn an_error_of_any_kind_leaves_no_savepoint() {
        let change = RowChange {
            operation: Operation::Insert,
            table: "t".to_owned(),
            key: Vec::new(),
            columns: Vec::new(),
        };
        let mut session = Failing::default();
        let mut changes = vec![(0, change)];
        let applier = Applier::new();
        assert!(applier.write(&mut session, &changes).is_err());
        assert_eq!(session.savepoints, 0);
        let mut left_out = Vec::new();
        assert!(applier.write_possible(&mut session, &mut changes, &mut left_out).is_err());
        assert_eq!((session.savepoints, left_out.len()), (0, 0));
    }
}
