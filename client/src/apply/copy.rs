//! Copy the rows of a table that were there before its changes were captured.

use std::collections::BTreeSet;

use postgres::Transaction;
use postgres::types::Type;

use super::Applier;
use super::table::Table;
use crate::change::{Operation, RowChange};
use crate::error::Error;
use pgq_connect::quote::identifier;

impl Applier {
    /// May this table of the source be written, by its names? Events of others are refused one by
    /// one, and nothing of them is copied.
    pub(crate) fn may_copy(&self, name: &str) -> bool {
        let probe = RowChange {
            operation: Operation::Insert,
            table: self.target_of(name).to_owned(),
            key: Vec::new(),
            columns: Vec::new(),
        };
        let checked = self.permit.check(0, name, &probe);
        if let Err(error) = &checked {
            log::debug!("not copied: {error}");
        }
        checked.is_ok()
    }

    fn target_of<'n>(&'n self, name: &'n str) -> &'n str {
        self.names.get(name).map_or(name, String::as_str)
    }

    /// Copy all rows that the source's transaction sees of a table into its target, which must be
    /// empty; how many. None for a table that is left out. `begun` are the targets that have rows
    /// by this copy: several tables may go into one.
    ///
    /// # Errors
    /// [`Error::Absent`] when the target lacks the table, [`Error::Config`] when rows are there
    /// already; those of both servers.
    pub(crate) fn copy_table(
        &mut self,
        source: &mut Transaction<'_>,
        target: &mut Transaction<'_>,
        name: &str,
        begun: &mut BTreeSet<String>,
    ) -> Result<Option<u64>, Error> {
        let into = self.target_of(name).to_owned();
        let Some(there) = Table::look_up(target, &into)? else {
            if self.skip_missing {
                return Ok(None);
            }
            return Err(Error::Absent(format!("the target has no table \"{into}\"")));
        };
        let sql = format!("select exists (select from {})", there.name());
        if begun.insert(into.clone()) && target.query_typed_one(&sql, &[])?.try_get(0)? {
            return Err(Error::Config(format!(
                "table \"{into}\" of the target has rows already: nothing is copied into it"
            )));
        }
        let (schema, table) = name.split_once('.').unwrap_or(("public", name));
        let columns: Vec<String> = source
            .query_typed(
                include_str!("columns.sql"),
                &[(&schema, Type::TEXT), (&table, Type::TEXT)],
            )?
            .iter()
            .map(|row| Ok((row.try_get::<_, String>(0)?, row.try_get::<_, bool>(2)?)))
            .collect::<Result<Vec<_>, Error>>()?
            .into_iter()
            .filter(|(column, generated)| !generated && there.takes(column))
            .map(|(column, _)| identifier(&column))
            .collect();
        if columns.is_empty() {
            return Ok(Some(0));
        }
        let columns = columns.join(", ");
        let from = format!("{}.{}", identifier(schema), identifier(table));
        let mut reader = source.copy_out(&format!("copy {from} ({columns}) to stdout"))?;
        let mut writer =
            target.copy_in(&format!("copy {} ({columns}) from stdin", there.name()))?;
        std::io::copy(&mut reader, &mut writer).map_err(of_copy)?;
        let rows = writer.finish()?;
        log::info!("copied {rows} rows of table \"{name}\"");
        Ok(Some(rows))
    }
}

/// The driver wraps its errors for the traits of reading and writing.
fn of_copy(error: std::io::Error) -> Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::Lost(error.to_string()),
    }
}
