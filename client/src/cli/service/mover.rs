//! `[queue_mover3]`: events into a queue of another database.

use pgq_client::{Error, RemoteConsumer, Stop};
use pgq_ini::Section;

use super::Route;
use super::settings::Settings;
use crate::cli::work::copy::copy;

#[derive(Debug)]
pub(super) struct Mover {
    route: Route,
    queue: Option<String>,
}

impl Mover {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let route = Route::without_dead_letters(section)?;
        Ok(Self { route, queue: section.take("dst_queue_name")? })
    }

    pub(super) fn connect(
        &self,
        settings: &Settings,
        stop: &Stop,
    ) -> Result<RemoteConsumer, Error> {
        self.route.connect(settings, stop)
    }

    pub(super) fn serve(&self, settings: &Settings, stop: &Stop) -> Result<(), Error> {
        let queue = self.queue.as_ref().unwrap_or(&settings.queue);
        self.connect(settings, stop)?.run_batches(|batch| copy(batch, queue))?;
        Ok(())
    }
}
