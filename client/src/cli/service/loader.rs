//! `[queue_loader]`: row changes into tables of another database.

use pgq_client::{Applier, Error, RemoteConsumer};
use pgq_ini::Section;
use pgq_replica::name;

use crate::cli::work::apply;

#[derive(Debug)]
pub(super) struct Loader {
    tables: Vec<(String, String)>,
    keys: Vec<(String, Vec<String>)>,
    only: Vec<String>,
    allow_truncate: bool,
    copy: bool,
    skip_missing: bool,
    row_by_row: bool,
    replica_role: bool,
}

impl Loader {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let keys = pairs(section, "key_columns")?
            .into_iter()
            .map(|(table, columns)| {
                (table, columns.split('+').map(|name| name.trim().to_owned()).collect())
            })
            .collect();
        let (tables, only) = (pairs(section, "rename_tables")?, section.list("tables")?);
        let mut flag =
            |key: &str| -> Result<bool, Error> { Ok(section.boolean(key)?.unwrap_or(false)) };
        Ok(Self {
            tables,
            keys,
            only,
            allow_truncate: flag("allow_truncate")?,
            copy: flag("copy")?,
            skip_missing: flag("skip_missing")?,
            row_by_row: flag("row_by_row")?,
            replica_role: flag("replica_role")?,
        })
    }

    pub(super) fn serve(&self, mut consumer: RemoteConsumer) -> Result<(), Error> {
        let mut applier = Applier::new();
        for (source, target) in &self.tables {
            applier.map_table(source, target);
        }
        for (source, columns) in &self.keys {
            applier.set_key(source, columns.clone());
        }
        for pattern in &self.only {
            applier.only(pattern);
        }
        applier.allow_truncate(self.allow_truncate);
        applier.skip_missing(self.skip_missing);
        applier.row_by_row(self.row_by_row);
        if self.copy {
            apply::copy(&mut consumer, &mut applier, self.replica_role)?;
        }
        consumer.run_batches(|batch| apply::apply(batch, &mut applier, self.replica_role))?;
        Ok(())
    }
}

/// A list of `left:right`; tables are in schema public unless they say otherwise.
fn pairs(section: &mut Section<'_>, key: &str) -> Result<Vec<(String, String)>, Error> {
    let items = section.list(key)?;
    let pair = |item: &String| match item.split_once(':') {
        Some((table, right)) => Ok((name::full(table.trim()), right.trim().to_owned())),
        None => Err(section.wrong(key, format!("\"{item}\" is not a pair with a colon")).into()),
    };
    items.iter().map(pair).collect()
}
