//! `check`: are tables made alike here and on the provider?

use std::collections::BTreeMap;

use pgq_client::Error;
use pgq_replica::name;
use serde_json::{Value, json};

use super::add_table::tables_of;
use super::set::Set;
use super::site::Site;
use crate::cli::Exit;
use crate::cli::output::{Format, Rows};

const COLUMNS: &str = "
    select a.attname::pg_catalog.text,
           pg_catalog.concat(
               pg_catalog.format_type(a.atttypid, a.atttypmod),
               case when a.attnotnull then ' not null' end,
               case when a.attgenerated operator(pg_catalog.=) 's' then ' generated' end,
               (select ' key'
                  from pg_catalog.pg_index x
                 where x.indrelid operator(pg_catalog.=) a.attrelid
                   and x.indisprimary
                   and a.attnum operator(pg_catalog.=) any (x.indkey::pg_catalog.int2[])))
      from pg_catalog.pg_attribute a
           join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid
           join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
     where n.nspname operator(pg_catalog.=) $1
       and c.relname operator(pg_catalog.=) $2
       and c.relkind::pg_catalog.text operator(pg_catalog.=) any ('{r,p}')
       and a.attnum operator(pg_catalog.>) 0
       and not a.attisdropped";

fn columns(site: &mut Site, table: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let (schema, relation) = name::split(table);
    let rows = site.rows(COLUMNS, &[schema.into(), relation.into()])?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).collect()
}

/// Look at these tables, or at all that are attached; a row for each column that differs.
pub(super) fn tables(set: &mut Set, names: &[String], format: Format) -> anyhow::Result<Exit> {
    let queue = set.queue.clone();
    let own = tables_of(&mut set.here, &queue)?;
    let named: Vec<_> = names.iter().map(|table| name::full(table)).collect();
    if let Some(table) = named.iter().find(|table| own.get(*table).is_none_or(|known| !known.local))
    {
        let what = format!(
            "table \"{table}\" is not attached to the node; hint: \"tables\" lists those that are"
        );
        return Err(Error::Absent(what).into());
    }
    if set.own.is_root() {
        let what = format!(
            "node \"{}\" is the root: there is nobody to compare it with",
            set.own.node_name
        );
        return Err(Error::Config(what).into());
    }
    let provider = set.provider()?;
    let there = tables_of(set.site(&provider)?, &queue)?;
    let mut rows = Vec::new();
    for (table, known) in own
        .iter()
        .filter(|(table, known)| known.local && (named.is_empty() || named.contains(table)))
    {
        let here = columns(&mut set.here, &known.here)?;
        let other = match there.get(table).filter(|known| known.local) {
            Some(known) => columns(set.site(&provider)?, &known.here)?,
            None => {
                rows.push(vec![
                    json!(table),
                    Value::Null,
                    json!("attached"),
                    json!("not attached"),
                ]);
                continue;
            }
        };
        let mut all: Vec<_> = here.keys().chain(other.keys()).collect();
        all.sort();
        all.dedup();
        for column in all {
            let (one, two) = (here.get(column), other.get(column));
            if one != two {
                rows.push(vec![json!(table), json!(column), json!(one), json!(two)]);
            }
        }
    }
    let columns = ["table", "column", "here", "provider"].map(str::to_owned).to_vec();
    let exit = if rows.is_empty() { Exit::Ok } else { Exit::Unhealthy };
    Rows { columns, rows, ..Rows::default() }.print(format)?;
    Ok(exit)
}
