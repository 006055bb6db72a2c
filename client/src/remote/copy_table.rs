//! Copy the rows of a table that were there before its changes were captured.

use std::collections::BTreeSet;

use pgq_replica::{Applier, CopyPlan};
use postgres::Transaction;

use crate::copying::pipe;
use crate::error::Error;
use crate::statements::Statements;

/// Copy all rows that the source's transaction sees of a table into its target, which must be
/// empty; how many. None for a table that is left out. `begun` are the targets that have rows by
/// this copy: several tables may go into one.
///
/// # Errors
/// [`Error::Absent`] when the target lacks the table, [`Error::Config`] when rows are there
/// already; those of both servers.
pub(super) fn copy_table(
    applier: &Applier,
    source: &mut Transaction<'_>,
    target: &mut Transaction<'_>,
    table: &str,
    begun: &mut BTreeSet<String>,
) -> Result<Option<u64>, Error> {
    let into = applier.target_of(table);
    let Some(there) = applier.look_up(&mut Statements(target), table)? else {
        return Ok(None);
    };
    let sql = format!("select exists (select from {})", there.name());
    if begun.insert(into.to_owned()) && target.query_typed_one(&sql, &[])?.try_get(0)? {
        return Err(Error::Config(format!(
            "table \"{into}\" of the target has rows already: nothing is copied into it"
        )));
    }
    let Some(plan) = CopyPlan::make(&mut Statements(source), table, &there)? else {
        return Ok(Some(0));
    };
    let rows = pipe(source, target, &plan)?;
    log::info!("copied {rows} rows of table \"{table}\"");
    Ok(Some(rows))
}
