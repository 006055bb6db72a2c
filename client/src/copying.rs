//! Copy tables from one database to another under one snapshot.

use pgq_replica::{CopyPlan, name};
use postgres::{Client, IsolationLevel, Transaction};

use crate::error::Error;

/// All rows, or an error, in a form that any target reads alike, whatever the source's roles and
/// databases have set.
const SET_UP: &str = "set local row_security = off;
set local datestyle = iso;
set local intervalstyle = postgres;
set local extra_float_digits = 3;
set local search_path = pg_catalog, pg_temp";

/// Begin to read these tables under one snapshot, which is told.
pub(crate) fn begin<'c>(
    source: &'c mut Client,
    tables: &[String],
) -> Result<(Transaction<'c>, String), Error> {
    let mut seen = source
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()?;
    seen.batch_execute(SET_UP)?;
    // Before the snapshot is taken: a table that is truncated or rewritten after it would look
    // empty.
    for table in tables {
        seen.batch_execute(&format!("lock table {} in access share mode", name::quoted(table)))?;
    }
    let snapshot = seen
        .query_typed_one("select pg_catalog.txid_current_snapshot()::pg_catalog.text", &[])?
        .try_get(0)?;
    Ok((seen, snapshot))
}

/// Copy a table; how many rows.
pub(crate) fn pipe(
    source: &mut Transaction<'_>,
    target: &mut Transaction<'_>,
    plan: &CopyPlan,
) -> Result<u64, Error> {
    let mut reader = source.copy_out(&plan.out)?;
    let mut writer = target.copy_in(&plan.into)?;
    std::io::copy(&mut reader, &mut writer).map_err(of_copy)?;
    Ok(writer.finish()?)
}

/// The driver wraps its errors for the traits of reading and writing.
fn of_copy(error: std::io::Error) -> Error {
    match error.downcast::<postgres::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::Lost(error.to_string()),
    }
}
