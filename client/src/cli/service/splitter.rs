//! `[queue_splitter3]`: events over queues of another database.

use clap::ValueEnum;
use pgq_client::{Error, Pattern, RemoteConsumer, Section, Stop};

use super::Route;
use super::settings::{KEYS, Settings};
use crate::cli::work::distribute::{self, Field};

#[derive(Debug)]
pub(super) struct Splitter {
    route: Route,
    by: Field,
    queues: Vec<Pattern>,
}

const OWN: [&str; 5] = ["src_db", "dst_db", "queue_field", "queues", "dead_letter_queue"];

impl Splitter {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Error> {
        section.only(&[&KEYS[..], &OWN].concat())?;
        let field = section.get("queue_field")?.unwrap_or_else(|| "extra1".to_owned());
        let by = Field::from_str(field.trim_start_matches("ev_"), true).map_err(|_| {
            Error::Config(format!("[{}] queue_field: no field \"{field}\"", section.name()))
        })?;
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
