//! What is copied of a table, from where its changes are captured to where they are applied.

use crate::apply::Table;
use crate::error::Error;
use crate::name;
use crate::session::Session;

/// The two ends of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// `copy … to stdout`, for the source.
    pub out: String,
    /// `copy … from stdin`, for the target.
    pub into: String,
    /// The columns that are copied.
    pub columns: Vec<String>,
    /// Columns of the source that the target does not have.
    pub left_out: Vec<String>,
}

/// Columns that are not computed, in their order.
const COLUMNS: &str = "
select a.attname::pg_catalog.text, c.relkind::pg_catalog.text
  from pg_catalog.pg_attribute a
       join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid
       join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
 where n.nspname operator(pg_catalog.=) $1
   and c.relname operator(pg_catalog.=) $2
   and c.relkind operator(pg_catalog.=) any ('{r,p,v,f}')
   and a.attnum operator(pg_catalog.>) 0
   and not a.attisdropped
   and a.attgenerated operator(pg_catalog.=) ''
 order by a.attnum";

/// Of the events of these tables, which were copied, those that the copy has not seen, and all of
/// others: a condition over the `ev_*` columns.
pub fn not_copied(tables: &[&str], snapshot: &str) -> String {
    let tables: Vec<_> = tables.iter().map(|table| name::literal(table)).collect();
    format!(
        "not (coalesce(ev_extra1, '') operator(pg_catalog.=) any (array[{}]) and pg_catalog.txid_visible_in_snapshot(ev_txid, {}::pg_catalog.txid_snapshot))",
        tables.join(", "),
        name::literal(snapshot)
    )
}

impl CopyPlan {
    /// Of table `table` of the source into `there`: the columns that both have. None when there are
    /// none.
    ///
    /// # Errors
    /// [`Error::Absent`] when the source has no such table; the session's.
    pub fn make<S: Session>(
        source: &mut S,
        table: &str,
        there: &Table,
    ) -> Result<Option<Self>, S::Error> {
        let (schema, relation) = name::split(table);
        let rows = source.rows(COLUMNS, &[schema.into(), relation.into()])?;
        if rows.is_empty() {
            return Err(Error::Absent(format!("the source has no table \"{table}\"")).into());
        }
        // Of others COPY takes only a query.
        let is_table = rows.first().map(|row| row.text(1)).transpose()? == Some("r");
        let names = rows.iter().map(|row| row.text(0)).collect::<Result<Vec<_>, _>>()?;
        let (common, missing): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| there.takes(name));
        if common.is_empty() {
            return Ok(None);
        }
        let quoted: Vec<_> = common.iter().copied().map(name::quote).collect();
        let columns = quoted.join(", ");
        let from = name::quoted(table);
        let out = match is_table {
            true => format!("copy {from} ({columns}) to stdout"),
            false => format!("copy (select {columns} from {from}) to stdout"),
        };
        Ok(Some(Self {
            out,
            into: format!("copy {} ({columns}) from stdin", there.name()),
            columns: common.into_iter().map(str::to_owned).collect(),
            left_out: missing.into_iter().map(str::to_owned).collect(),
        }))
    }
}
