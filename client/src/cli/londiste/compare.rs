//! `compare`: have tables the same rows here and above?

use pgq_client::Error;
use pgq_replica::name;

use super::add_table::{find, tables_of};
use super::set::{Set, Settings};
use super::site::Site;
use super::snapshots::{self, Pair};
use crate::cli::{Exit, output};

/// Tables for `compare`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Compare {
    /// Tables; by default all that are in sync
    tables: Vec<String>,
    /// Only count rows
    #[arg(long)]
    count_only: bool,
    /// Wait for a node that lags for as long as it takes
    #[arg(long)]
    force: bool,
}

const COUNT: &str = "select pg_catalog.count(*) as cnt from only _TABLE_";
const SUM: &str = "
select pg_catalog.count(*) as cnt,
       pg_catalog.sum(pg_catalog.hashtext((row(_COLS_))::pg_catalog.text)::pg_catalog.int8)
           as chksum
  from only _TABLE_";

/// Values read the same on both sides, and rows that policies hide are an error.
pub(super) const FORM: &str = "set local row_security = off; set local datestyle = 'iso, ymd'; set local intervalstyle = postgres;
                    set local timezone = 'UTC'; set local extra_float_digits = 3;
                    set local bytea_output = hex; set local search_path = pg_catalog";

/// `compare`; the exit code is the number of tables that differ.
pub(super) fn tables(settings: Settings, options: &Compare) -> anyhow::Result<Exit> {
    let set = &mut settings.compare()?;
    let mut differ = 0;
    for (table, here) in chosen(set, &options.tables)? {
        if !one(set, options, &table, &here)? {
            output::line(&format!("{table}: the rows differ"))?;
            differ += 1;
        }
    }
    Ok(Exit::differ(differ))
}

/// These tables, or all that are in sync, and their names here.
pub(super) fn chosen(set: &mut Set, tables: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    if set.own.is_root() {
        let what = format!(
            "node \"{}\" is the root: there is nobody to compare it with",
            set.own.node_name
        );
        return Err(Error::Config(what).into());
    }
    let known = tables_of(&mut set.here, &set.queue)?;
    let mut names: Vec<_> = tables.iter().map(|table| name::full(table)).collect();
    if let Some(table) =
        names.iter().find(|table| known.get(*table).is_none_or(|known| !known.local))
    {
        let what = format!(
            "table \"{table}\" is not attached to the node; hint: \"tables\" lists those that are"
        );
        return Err(Error::Absent(what).into());
    }
    if names.is_empty() {
        names =
            known.iter().filter(|(_, known)| known.local).map(|(table, _)| table.clone()).collect();
    }
    let mut chosen = Vec::new();
    for table in names {
        match known.get(&table).filter(|known| known.is_ok) {
            Some(known) => chosen.push((table, known.here.clone())),
            None => log::warn!("table \"{table}\" is not in sync yet, and is left out"),
        }
    }
    Ok(chosen)
}

fn one(set: &mut Set, options: &Compare, table: &str, here: &str) -> anyhow::Result<bool> {
    let source = find(set, &[table.to_owned()])?;
    let queue = set.queue.clone();
    let there = tables_of(set.site(&source)?, &queue)?;
    let there = there.get(table).map_or(table, |known| known.here.as_str());
    let question = match (&set.settings.commands.compare_sql, options.count_only) {
        (_, true) => COUNT.to_owned(),
        (Some(own), false) => own.clone(),
        (None, false) => SUM.to_owned(),
    };
    let mut pair = snapshots::of_table(set, &source, (there, table), options.force)?;
    let columns = common_columns(&mut pair, there, here)?;
    let mut answers = Vec::new();
    for (site, relation) in [(&mut pair.there, there), (&mut pair.here, here)] {
        let sql = question.replace("_COLS_", &columns).replace("_TABLE_", &name::quoted(relation));
        site.run(FORM)?;
        let answer = ask(site, &sql)?;
        output::line(&format!("{table}: {}: {answer}", site.name()))?;
        answers.push(answer);
    }
    Ok(answers.first() == answers.last())
}

fn ask(site: &mut Site, sql: &str) -> anyhow::Result<String> {
    let sql = format!("select pg_catalog.row_to_json(r)::pg_catalog.text from ({sql}) r");
    let text = site.value(&sql, &[])?.unwrap_or_default();
    let values: serde_json::Value = serde_json::from_str(&text)?;
    Ok(match (values.get("cnt"), values.get("chksum")) {
        (Some(count), Some(sum)) => format!("{count} rows, checksum={sum}"),
        (Some(count), None) => format!("{count} rows"),
        _ => text,
    })
}

fn common_columns(pair: &mut Pair, there: &str, here: &str) -> anyhow::Result<String> {
    const COLUMNS: &str = "
        select a.attname::pg_catalog.text
          from pg_catalog.pg_attribute a
               join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid
               join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
         where n.nspname operator(pg_catalog.=) $1
           and c.relname operator(pg_catalog.=) $2
           and a.attnum operator(pg_catalog.>) 0
           and not a.attisdropped
         order by a.attnum";
    let list = |site: &mut Site, table: &str| -> anyhow::Result<Vec<String>> {
        let (schema, relation) = name::split(table);
        let rows = site.rows(COLUMNS, &[schema.into(), relation.into()])?;
        rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
    };
    let (source, own) = (list(&mut pair.there, there)?, list(&mut pair.here, here)?);
    let common: Vec<_> = source.iter().filter(|column| own.contains(column)).collect();
    if common.is_empty() {
        let what = format!("table \"{here}\" has no column that the provider's has");
        return Err(Error::Absent(what).into());
    }
    if common.len() < source.len() || common.len() < own.len() {
        log::warn!("table \"{here}\": columns that only one side has are left out; see \"check\"");
    }
    Ok(common.into_iter().map(|column| name::quote(column)).collect::<Vec<_>>().join(", "))
}
