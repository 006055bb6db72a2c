//! What makes rows here as they are there.

use std::collections::BTreeMap;

use pgq_replica::{Argument, name};

use super::columns::Columns;
use super::differences::Difference;
use crate::cli::londiste::site::Site;

/// Keys that are asked for at once.
const AT_ONCE: usize = 500;

type Values = Vec<Option<String>>;

/// What is to be done with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    Insert { row: Values },
    Update { before: Values, after: Values },
    Delete { row: Values },
}

/// What is to be done, and how many rows have changed since they were compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Fixes {
    pub(super) all: Vec<Fix>,
    pub(super) changed: usize,
}

/// A row and its version.
type Found = (String, Values);

fn rows_of(
    site: &mut Site,
    columns: &Columns,
    sql: &str,
    some: &[Difference],
) -> anyhow::Result<BTreeMap<usize, Found>> {
    let keys = columns.keys().count();
    let arrays: Vec<Vec<Option<&str>>> = (0..keys)
        .map(|index| some.iter().map(|one| one.key.get(index).map(String::as_str)).collect())
        .collect();
    let values: Vec<_> = arrays.iter().map(|array| Argument::Texts(array)).collect();
    let mut found = BTreeMap::new();
    for row in site.rows(sql, &values)? {
        // The first key is 1.
        let place = usize::try_from(row.number(0)?)?.saturating_sub(1);
        let version = row.text(1)?.to_owned();
        found.insert(place, (version, row.0.into_iter().skip(2).collect()));
    }
    Ok(found)
}

/// Look at the rows again, and say what is to be done. A row that was written there since is left
/// alone: what was written may not be here yet. One that is as it was, is so in everything that
/// the node here still has to get.
pub(super) fn plan(
    (there, table_there): (&mut Site, &str),
    (here, table_here): (&mut Site, &str),
    columns: &Columns,
    differences: &[Difference],
    lock: bool,
) -> anyhow::Result<Fixes> {
    let ask_there = columns.rows(table_there, "");
    let ask_here = columns.rows(table_here, if lock { "for update of t" } else { "" });
    let keys = columns.keys().count();
    let mut fixes = Fixes::default();
    for some in differences.chunks(AT_ONCE) {
        let source = rows_of(there, columns, &ask_there, some)?;
        let own = rows_of(here, columns, &ask_here, some)?;
        for (place, difference) in some.iter().enumerate() {
            let after = source.get(&place);
            if after.map(|(version, _)| version) != difference.version.as_ref() {
                // Another way to write the key of another row, which is looked at itself.
                let other = after.is_some_and(|(_, row)| {
                    let texts = row.iter().take(keys).map(|key| key.as_deref());
                    !texts.eq(difference.key.iter().map(|key| Some(key.as_str())))
                });
                fixes.changed += usize::from(!(other && difference.version.is_none()));
                continue;
            }
            let before = own.get(&place).map(|(_, row)| row.clone());
            match (before, after.map(|(_, row)| row.clone())) {
                (None, Some(row)) => fixes.all.push(Fix::Insert { row }),
                (Some(row), None) => fixes.all.push(Fix::Delete { row }),
                (Some(before), Some(after)) if before != after => {
                    fixes.all.push(Fix::Update { before, after });
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
    Ok(fixes)
}

/// Statements for a table.
pub(super) struct Writer<'c> {
    pub(super) table: String,
    pub(super) columns: &'c Columns,
}

fn literal(value: &Option<String>) -> String {
    value.as_deref().map_or_else(|| "null".to_owned(), name::literal)
}

impl Writer<'_> {
    pub(super) fn statement(&self, fix: &Fix) -> String {
        match fix {
            Fix::Insert { row } => self.insert(row),
            Fix::Delete { row } => self.delete(row),
            Fix::Update { before, after } => {
                let changes = self.columns.names().into_iter().zip(before.iter().zip(after));
                let changes = changes.filter(|(_, (before, after))| before != after);
                let set: Vec<_> = changes
                    .map(|(column, (_, after))| format!("{column} = {}", literal(after)))
                    .collect();
                format!(
                    "update only {} set {} where {}",
                    self.table,
                    set.join(", "),
                    self.key(before)
                )
            }
        }
    }

    /// The same, so that no two rows are in each other's way.
    pub(super) fn whole(&self, fix: &Fix) -> (Option<String>, Option<String>) {
        match fix {
            Fix::Insert { row } => (None, Some(self.insert(row))),
            Fix::Delete { row } => (Some(self.delete(row)), None),
            Fix::Update { before, after } => (Some(self.delete(before)), Some(self.insert(after))),
        }
    }

    fn insert(&self, row: &Values) -> String {
        let values: Vec<_> = row.iter().map(literal).collect();
        format!(
            "insert into {} ({}) overriding system value values ({})",
            self.table,
            self.columns.names().join(", "),
            values.join(", ")
        )
    }

    fn delete(&self, row: &Values) -> String {
        format!("delete from only {} where {}", self.table, self.key(row))
    }

    fn key(&self, row: &Values) -> String {
        let keys = self.columns.keys().count();
        let pairs = self.columns.names().into_iter().zip(row).take(keys);
        pairs
            .map(|(column, value)| format!("{column} = {}", literal(value)))
            .collect::<Vec<_>>()
            .join(" and ")
    }
}
