//! `[queue_splitter3]`: events over queues of another database.

use clap::ValueEnum;
use pgq_client::{Error, Pattern, RemoteConsumer};
use pgq_ini::Section;

use crate::cli::work::distribute::{Field, distribute, patterns};

#[derive(Debug)]
pub(super) struct Splitter {
    by: Field,
    queues: Vec<Pattern>,
}

impl Splitter {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let field = section.take("queue_field")?.unwrap_or_else(|| "extra1".to_owned());
        let by = Field::from_str(field.trim_start_matches("ev_"), true)
            .map_err(|_| section.wrong("queue_field", format!("no field \"{field}\"")))?;
        Ok(Self { by, queues: patterns(&section.list("queues")?) })
    }

    pub(super) fn serve(&self, mut consumer: RemoteConsumer) -> Result<(), Error> {
        consumer.run_batches(|batch| distribute(batch, self.by, &self.queues)).map(drop)
    }
}
