//! `[queue_splitter3]`: events over queues of another database.

use clap::ValueEnum;
use pgq_client::{Error, Pattern, RemoteConsumer, Stop};
use pgq_ini::Section;

use super::Route;
use super::settings::Settings;
use crate::cli::work::distribute::{self, Field};

#[derive(Debug)]
pub(super) struct Splitter {
    route: Route,
    by: Field,
    queues: Vec<Pattern>,
}

impl Splitter {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let field = section.take("queue_field")?.unwrap_or_else(|| "extra1".to_owned());
        let by = Field::from_str(field.trim_start_matches("ev_"), true)
            .map_err(|_| section.wrong("queue_field", format!("no field \"{field}\"")))?;
        let queues = distribute::patterns(&section.list("queues")?);
        Ok(Self { route: Route::read(section)?, by, queues })
    }

    pub(super) fn connect(
        &self,
        settings: &Settings,
        stop: &Stop,
    ) -> Result<RemoteConsumer, Error> {
        self.route.connect(settings, stop)
    }

    pub(super) fn serve(&self, settings: &Settings, stop: &Stop) -> Result<(), Error> {
        self.connect(settings, stop)?
            .run_batches(|batch| distribute::distribute(batch, self.by, &self.queues))?;
        Ok(())
    }
}
