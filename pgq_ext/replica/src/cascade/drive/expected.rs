//! How much a copy is going to bring, for whoever looks at it.

use super::Local;
use crate::cascade::tables;
use crate::name;
use crate::session::{Argument, Session};

/// A plain table's size. One that was never analyzed does not say its number of rows.
const SIZE: &str = "
select case when c.reltuples operator(pg_catalog.>) 0
           then c.reltuples::pg_catalog.int8::pg_catalog.text
       end,
       pg_catalog.pg_table_size(c.oid)::pg_catalog.text
  from pg_catalog.pg_class c
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
 where n.nspname operator(pg_catalog.=) $1
   and c.relname operator(pg_catalog.=) $2
   and c.relkind operator(pg_catalog.=) 'r'";

/// Extensions of others have no such table.
const IS_NOTED: &str =
    "select (pg_catalog.to_regclass('londiste.table_copy') is not null)::pg_catalog.text";

const NOTE: &str = "
insert into londiste.table_copy as c (queue_name, table_name, expected_rows, expected_bytes)
select t.queue_name, t.table_name, $3::pg_catalog.int8, $4::pg_catalog.int8
  from londiste.table_info t
 where t.queue_name operator(pg_catalog.=) $1
   and t.table_name operator(pg_catalog.=) $2
    on conflict (queue_name, table_name) do update
   set began = excluded.began,
       expected_rows = excluded.expected_rows,
       expected_bytes = excluded.expected_bytes";

/// Note how much the copy of a table is going to bring, in a transaction of its own: it is to be
/// seen before the copy has committed.
pub(super) fn note<L: Local, R: Session<Error = L::Error>>(
    there: &mut R,
    local: &mut L,
    queue: &str,
    table: &str,
) -> Result<(), L::Error> {
    let noted = local.rows(IS_NOTED, &[])?;
    if noted.first().map(|row| row.flag(0)).transpose()? != Some(true) {
        return Ok(());
    }
    let Some(source) = tables::source(there, queue, table)? else { return Ok(()) };
    let (schema, relation) = name::split(&source);
    let sizes = there.rows(SIZE, &[schema.into(), relation.into()])?;
    let size = |column| sizes.first().map_or(Ok(None), |row| row.get(column));
    let (rows, bytes) = (Argument::Text(size(0)?), Argument::Text(size(1)?));
    local.execute(NOTE, &[queue.into(), table.into(), rows, bytes])?;
    Ok(())
}
