//! `[queue_loader]`: row changes into tables of another database.

use pgq_client::{Applier, Error, RemoteConsumer, Section, Stop};

use super::Route;
use super::settings::{KEYS, Settings};
use crate::cli::load;

#[derive(Debug)]
pub(super) struct Loader {
    route: Route,
    tables: Vec<(String, String)>,
    skip_missing: bool,
    row_by_row: bool,
    replica_role: bool,
}

const OWN: [&str; 6] =
    ["src_db", "dst_db", "rename_tables", "skip_missing", "row_by_row", "replica_role"];

impl Loader {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Error> {
        section.only(&[&KEYS[..], &OWN].concat())?;
        let tables = section
            .list("rename_tables")?
            .iter()
            .map(|item| {
                item.split_once(':')
                    .map(|(source, target)| (source.trim().to_owned(), target.trim().to_owned()))
                    .ok_or_else(|| {
                        Error::Config(format!(
                            "[{}] rename_tables: \"{item}\" is not source:target",
                            section.name()
                        ))
                    })
            })
            .collect::<Result<_, _>>()?;
        let flag =
            |key: &str| -> Result<bool, Error> { Ok(section.boolean(key)?.unwrap_or(false)) };
        Ok(Self {
            route: Route::read(section)?,
            tables,
            skip_missing: flag("skip_missing")?,
            row_by_row: flag("row_by_row")?,
            replica_role: flag("replica_role")?,
        })
    }

    pub(super) fn connect(
        &self,
        settings: &Settings,
        stop: &Stop,
    ) -> Result<RemoteConsumer, Error> {
        self.route.connect(settings, stop)
    }

    pub(super) fn serve(&self, settings: &Settings, stop: &Stop) -> Result<(), Error> {
        let mut applier = Applier::new();
        for (source, target) in &self.tables {
            applier.map_table(source, target);
        }
        applier.skip_missing(self.skip_missing);
        applier.row_by_row(self.row_by_row);
        self.connect(settings, stop)?
            .run_batches(|batch| load::apply(batch, &mut applier, self.replica_role))?;
        Ok(())
    }
}
