//! `[queue_mover3]`: events into a queue of another database.

use pgq_client::{Error, RemoteConsumer};
use pgq_ini::Section;

use super::route::Route;
use crate::cli::work::copy::copy;

#[derive(Debug)]
pub(super) struct Mover {
    queue: String,
}

impl Mover {
    pub(super) fn read(section: &mut Section<'_>, route: &Route) -> Result<Self, Error> {
        let queue = section.take("dst_queue_name")?;
        Ok(Self { queue: queue.unwrap_or_else(|| route.queue().to_owned()) })
    }

    pub(super) fn serve(&self, mut consumer: RemoteConsumer) -> Result<(), Error> {
        consumer.run_batches(|batch| copy(batch, &self.queue)).map(drop)
    }
}
