//! Which rows of two tables differ: both are read in the order of their keys.

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::columns::Columns;
use crate::cli::londiste::site::Site;

/// Rows that are asked for at once.
const PAGE: usize = 2000;

/// A row as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    key: Vec<String>,
    /// Which version of the row it is: another one when anybody has written it.
    version: String,
    sum: String,
}

/// A row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: Vec<String>,
    /// Its version there; none when it is only here.
    pub(super) version: Option<String>,
}

/// The rows of a table, a page at a time.
struct Rows<'s> {
    site: &'s mut Site,
    keys: usize,
    page: VecDeque<Seen>,
    is_over: bool,
}

impl<'s> Rows<'s> {
    /// In a transaction.
    fn open(
        site: &'s mut Site,
        columns: &Columns,
        table: &str,
        only: Option<&str>,
    ) -> anyhow::Result<Self> {
        let sql = columns.sums(table, only);
        site.run(&format!("declare repair_rows no scroll cursor for {sql}"))?;
        Ok(Self { site, keys: columns.keys().count(), page: VecDeque::new(), is_over: false })
    }

    fn next(&mut self) -> anyhow::Result<Option<Seen>> {
        if self.page.is_empty() && !self.is_over {
            let rows = self.site.rows(&format!("fetch forward {PAGE} from repair_rows"), &[])?;
            self.is_over = rows.len() < PAGE;
            for row in rows {
                let key = (0..self.keys).map(|column| Ok(row.text(column)?.to_owned()));
                self.page.push_back(Seen {
                    key: key.collect::<anyhow::Result<_>>()?,
                    version: row.text(self.keys)?.to_owned(),
                    sum: row.text(self.keys + 1)?.to_owned(),
                });
            }
        }
        Ok(self.page.pop_front())
    }
}

/// Find the rows that differ, at most so many; none when there are more.
pub(super) fn find(
    (there, table_there): (&mut Site, &str),
    (here, table_here): (&mut Site, &str),
    columns: &Columns,
    only: Option<&str>,
    most: usize,
) -> anyhow::Result<Option<Vec<Difference>>> {
    let mut there = Rows::open(there, columns, table_there, only)?;
    let mut here = Rows::open(here, columns, table_here, only)?;
    let mut found = Vec::new();
    let within = merge(&mut || there.next(), &mut || here.next(), &mut |difference| {
        found.push(difference);
        found.len() <= most
    })?;
    for rows in [there, here] {
        rows.site.run("close repair_rows")?;
    }
    Ok(within.then_some(found))
}

/// Go through both in order. False when the differences were too many.
fn merge(
    there: &mut dyn FnMut() -> anyhow::Result<Option<Seen>>,
    here: &mut dyn FnMut() -> anyhow::Result<Option<Seen>>,
    differs: &mut dyn FnMut(Difference) -> bool,
) -> anyhow::Result<bool> {
    let (mut one, mut other) = (there()?, here()?);
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(true),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => one.key.cmp(&other.key),
        };
        let (mut left, mut right) = (None, None);
        if order != Ordering::Greater {
            left = std::mem::replace(&mut one, there()?);
        }
        if order != Ordering::Less {
            right = std::mem::replace(&mut other, here()?);
        }
        let difference = match (left, right) {
            (Some(left), Some(right)) if left.sum == right.sum => continue,
            (Some(left), _) => Difference { key: left.key, version: Some(left.version) },
            (None, Some(right)) => Difference { key: right.key, version: None },
            (None, None) => continue,
        };
        if !differs(difference) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, merge};

    fn rows(text: &str) -> std::vec::IntoIter<Seen> {
        let row = |row: &str| {
            let (key, sum) = row.split_at(2);
            let key = key.chars().map(String::from).collect();
            Seen { key, version: format!("v{row}"), sum: sum.to_owned() }
        };
        text.split_whitespace().map(row).collect::<Vec<_>>().into_iter()
    }

    fn found(there: &str, here: &str, most: usize) -> (bool, String) {
        let (mut there, mut here) = (rows(there), rows(here));
        let mut found = Vec::new();
        let all = merge(&mut || Ok(there.next()), &mut || Ok(here.next()), &mut |difference| {
            let version = difference.version.unwrap_or_default();
            found.push(format!("{}:{version}", difference.key.concat()));
            found.len() < most
        });
        (all.unwrap(), found.join(" "))
    }

    #[test]
    fn what_is_on_one_side_or_differs_is_found_in_order() {
        for (there, here, differences) in [
            ("", "", ""),
            ("aa1 ab1", "aa1 ab1", ""),
            ("aa1 ab1 ba1", "aa1 ab2 bb1", "ab:vab1 ba:vba1 bb:"),
            ("", "aa1 zz1", "aa: zz:"),
            ("aa1 zz1", "", "aa:vaa1 zz:vzz1"),
            ("mm1", "aa1 mm1 zz1", "aa: zz:"),
        ] {
            let (all, said) = found(there, here, 10);
            assert!(all && said == differences, "{there} / {here}: {said}");
        }
        assert_eq!(found("aa1 ab1 ac1", "", 2), (false, "aa:vaa1 ab:vab1".to_owned()));
    }
}
