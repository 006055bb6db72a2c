//! Foreign keys: a table that is emptied for a copy has none meanwhile, in either direction.

use pgq_replica::cascade::tables::SHORT_WAIT;
use postgres::types::Type;
use postgres::{Client, Transaction};

use crate::error::Error;

/// Drop those of a table, to be restored when both of their sides are in sync. The transaction
/// waits for nobody for long from here on.
pub(super) fn drop(target: &mut Transaction<'_>, table: &str) -> Result<(), Error> {
    target.batch_execute(SHORT_WAIT)?;
    target.query_typed(
        "select londiste.drop_table_fkey(k.from_table, k.fkey_name)
           from londiste.find_table_fkeys($1) k",
        &[(&table, Type::TEXT)],
    )?;
    Ok(())
}

/// Restore those whose tables are in sync; true when that is done. Each step of it is a
/// transaction; what fails is said, and tried again with the next call.
pub(super) fn restore(client: &mut Client, queue: &str) -> Result<bool, Error> {
    let mut is_done = true;
    let rows = client.query_typed(
        "select from_table, fkey_name from londiste.get_valid_pending_fkeys($1)",
        &[(&queue, Type::TEXT)],
    )?;
    for row in rows {
        let (table, key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if let Err(error) = restore_one(client, &table, &key) {
            log::warn!("foreign key \"{key}\" of table \"{table}\" cannot be restored: {error}");
            is_done = false;
        }
    }
    Ok(is_done)
}

fn restore_one(client: &mut Client, table: &str, key: &str) -> Result<(), Error> {
    // First it is added without a look at the rows there, then they are looked at.
    loop {
        let mut here = client.transaction()?;
        here.batch_execute(SHORT_WAIT)?;
        let row = here.query_typed_one(
            "select londiste.restore_table_fkey($1, $2, true)",
            &[(&table, Type::TEXT), (&key, Type::TEXT)],
        )?;
        let sql: Option<String> = row.try_get(0)?;
        match sql.filter(|sql| !sql.is_empty()) {
            // One statement, whatever names it has in it.
            Some(sql) => {
                here.execute_typed(&sql, &[])?;
                here.commit()?;
            }
            None => {
                here.commit()?;
                log::info!("foreign key \"{key}\" of table \"{table}\" is restored");
                return Ok(());
            }
        }
    }
}
