//! What is attached to the node, and what is not.

use pgq_client::Error;
use pgq_client::postgres::types::Type;

use super::set::Set;
use crate::cli::output::{Format, Rows};
use crate::cli::{Exit, output};

fn print(set: &mut Set, sql: &str, format: Format) -> anyhow::Result<Exit> {
    Rows::query(set.here.client(), sql, &[(&set.queue, Type::TEXT)])?.print(format)?;
    Ok(Exit::Ok)
}

/// `tables`.
pub(super) fn tables(set: &mut Set, names_only: bool, format: Format) -> anyhow::Result<Exit> {
    if names_only {
        const NAMES: &str = "select table_name from londiste.get_table_list($1)
                              where local order by table_name";
        for row in set.here.rows(NAMES, &[set.queue.as_str().into()])? {
            output::line(row.text(0)?)?;
        }
        return Ok(Exit::Ok);
    }
    const TABLES: &str = "select table_name, merge_state, table_attrs, dest_table
                            from londiste.get_table_list($1)
                           where local
                           order by table_name";
    print(set, TABLES, format)
}

/// `seqs`.
pub(super) fn sequences(set: &mut Set, format: Format) -> anyhow::Result<Exit> {
    print(set, "select seq_name, local, last_value from londiste.get_seq_list($1)", format)
}

/// `missing`.
pub(super) fn missing(set: &mut Set, format: Format) -> anyhow::Result<Exit> {
    print(set, "select obj_kind, obj_name from londiste.local_show_missing($1)", format)
}

/// `fkeys`.
pub(super) fn foreign_keys(set: &mut Set, format: Format) -> anyhow::Result<Exit> {
    const KEYS: &str = "select p.from_table, p.to_table, p.fkey_name, p.fkey_def
                          from londiste.pending_fkeys p
                         where exists (select 1
                                         from londiste.get_table_list($1) t
                                        where t.table_name operator(pg_catalog.=) p.from_table
                                           or t.table_name operator(pg_catalog.=) p.to_table
                                           or t.dest_table operator(pg_catalog.=) p.from_table
                                           or t.dest_table operator(pg_catalog.=) p.to_table)
                         order by p.from_table, p.fkey_name";
    print(set, KEYS, format)
}

/// Handlers that workers of pgq have.
const HANDLERS: [(&str, &str); 1] =
    [("londiste", "rows are copied as they are, and changes applied to the table; the default")];

/// `show-handlers`.
pub(super) fn handlers(names: &[String]) -> anyhow::Result<Exit> {
    for name in names {
        check_handler(name)?;
    }
    for (name, what) in HANDLERS {
        output::line(&format!("{name}: {what}"))?;
    }
    Ok(Exit::Ok)
}

/// Is it a handler that workers of pgq have?
pub(super) fn check_handler(name: &str) -> anyhow::Result<()> {
    match HANDLERS.iter().any(|(known, _)| *known == name) {
        true => Ok(()),
        false => Err(Error::Absent(format!(
            "there is no handler \"{name}\"; hint: show-handlers lists those of pgq's workers; a table with another one needs Python's worker and commands"
        ))
        .into()),
    }
}
