//! Changes of a table that wait to be written, reduced to the last state of each row.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::change::{Operation, RowChange};
use crate::error::Error;

/// Values of the key columns.
pub(super) type Key<'c> = Vec<Option<Cow<'c, str>>>;

/// What became of a row.
#[derive(Clone, Copy, Debug)]
struct Reduced<'c> {
    last: &'c RowChange,
    /// What the first of its changes did.
    first: Operation,
    /// It was deleted by one of them.
    deleted: bool,
}

/// Changes reduced to the last state of each row.
#[derive(Debug, Default)]
pub(super) struct Pending<'c> {
    pub(super) columns: Vec<&'c str>,
    pub(super) key: Vec<&'c str>,
    rows: Vec<Option<Reduced<'c>>>,
    by_key: HashMap<Key<'c>, usize>,
}

impl<'c> Pending<'c> {
    /// Does the change have the columns of those before it?
    pub(super) fn takes(&self, change: &RowChange) -> bool {
        self.columns.iter().eq(change.columns.iter().map(|(name, _)| name))
            && self.key.iter().eq(change.key.iter())
    }

    /// Add a change. Those of one row must have one key, and those of others another.
    pub(super) fn add(&mut self, change: &'c RowChange, key: Key<'c>) {
        if self.columns.is_empty() {
            self.columns = change.columns.iter().map(|(name, _)| name.as_str()).collect();
            self.key = change.key.iter().map(String::as_str).collect();
        }
        let operation = change.operation;
        let mut reduced =
            Reduced { last: change, first: operation, deleted: operation == Operation::Delete };
        if !self.key.is_empty() {
            // A later state of the row replaces the earlier one, and takes its turn.
            if let Some(before) = self.by_key.insert(key, self.rows.len())
                && let Some(earlier) = self.rows.get_mut(before).and_then(Option::take)
            {
                reduced.first = earlier.first;
                reduced.deleted |= earlier.deleted;
            }
        }
        self.rows.push(Some(reduced));
    }

    fn select(&self, wanted: impl Fn(&Reduced<'c>) -> bool) -> Vec<&'c RowChange> {
        self.rows.iter().flatten().filter(|row| wanted(row)).map(|row| row.last).collect()
    }

    /// Rows that are gone.
    pub(super) fn gone(&self) -> Vec<&'c RowChange> {
        self.select(Reduced::is_gone)
    }

    /// Rows that are there, whether they were before or not.
    pub(super) fn present(&self) -> Vec<&'c RowChange> {
        self.select(|row| !row.is_gone())
    }

    /// Rows that were there before, and were deleted: some of them come again.
    pub(super) fn deleted(&self) -> Vec<&'c RowChange> {
        self.select(|row| row.deleted && row.first != Operation::Insert)
    }

    /// Rows that were there all the time.
    pub(super) fn updated(&self) -> Vec<&'c RowChange> {
        self.select(|row| !row.deleted && row.first == Operation::Update)
    }

    /// Rows that were not there, or not all the time, and are now.
    pub(super) fn inserted(&self) -> Vec<&'c RowChange> {
        self.select(|row| !row.is_gone() && (row.deleted || row.first == Operation::Insert))
    }
}

impl Reduced<'_> {
    fn is_gone(&self) -> bool {
        self.last.operation == Operation::Delete
    }
}

/// The values of the key; an error when the change lacks one.
pub(super) fn key_values(change: &RowChange) -> Result<Key<'_>, Error> {
    change
        .key
        .iter()
        .map(|name| {
            let value = change.column(name).ok_or_else(|| {
                Error::Payload(format!("table \"{}\": no value of key \"{name}\"", change.table))
            })?;
            Ok(value.map(Cow::Borrowed))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Operation, Pending, RowChange, key_values};

    fn change(operation: Operation, id: u8, value: u8) -> RowChange {
        let columns = [("id", id), ("value", value)];
        RowChange {
            operation,
            table: "t".to_owned(),
            key: vec!["id".to_owned()],
            columns: columns.map(|(name, value)| (name.to_owned(), Some(value.to_string()))).into(),
        }
    }

    type Table = BTreeMap<String, String>;

    fn write(table: &mut Table, change: &RowChange) {
        let text = |name| change.column(name).flatten().unwrap_or_default().to_owned();
        table.insert(text("id"), text("value"));
    }

    fn remove(table: &mut Table, change: &RowChange) -> bool {
        table.remove(change.column("id").flatten().unwrap_or_default()).is_some()
    }

    proptest! {
        // Deletes, then updates, then inserts of the reduced changes leave what the changes leave
        // one after the other, and none of them meets a row that it does not expect.
        #[test]
        fn reduced_changes_do_what_all_do(
            before in prop::collection::btree_set(0u8..6, 0..6),
            steps in prop::collection::vec((0u8..6, any::<u8>(), any::<bool>()), 0..40),
        ) {
            let mut one_by_one = Table::new();
            for id in before {
                write(&mut one_by_one, &change(Operation::Insert, id, 0));
            }
            let mut reduced = one_by_one.clone();
            let mut upserted = one_by_one.clone();
            let mut changes = Vec::new();
            for (id, value, delete) in steps {
                let operation = match (one_by_one.contains_key(&id.to_string()), delete) {
                    (false, _) => Operation::Insert,
                    (true, true) => Operation::Delete,
                    (true, false) => Operation::Update,
                };
                let change = change(operation, id, value);
                match operation {
                    Operation::Delete => { remove(&mut one_by_one, &change); }
                    _ => write(&mut one_by_one, &change),
                }
                changes.push(change);
            }
            let mut pending = Pending::default();
            for change in &changes {
                pending.add(change, key_values(change).unwrap());
            }
            for change in pending.deleted() {
                prop_assert!(remove(&mut reduced, change));
            }
            for change in pending.updated() {
                prop_assert!(remove(&mut reduced, change));
                write(&mut reduced, change);
            }
            for change in pending.inserted() {
                prop_assert!(!reduced.contains_key(change.column("id").flatten().unwrap()));
                write(&mut reduced, change);
            }
            prop_assert_eq!(&reduced, &one_by_one);
            for change in pending.gone() {
                remove(&mut upserted, change);
            }
            for change in pending.present() {
                write(&mut upserted, change);
            }
            prop_assert_eq!(&upserted, &one_by_one);
        }
    }
}
