//! The connection to a provider, and the batch that is open there.

use std::time::{Duration, Instant};

use pgq_replica::cascade::node::Node;
use pgq_replica::cascade::round::{Batch, Looked};

use super::settings::CascadeSettings;
use crate::connector::Connector;
use crate::cursor::PageSize;
use crate::error::Error;
use crate::remote::copy::ask_for_tick;
use crate::session::Session;
use crate::stop::Stop;
use crate::subscription::Subscription;

/// Rows of a page at most.
const PAGE_ROWS: usize = 10_000;
/// A changed watermark is told so often while there is something else to do.
const TELL: Duration = Duration::from_secs(30);
/// Longest wait for a batch: between waits the node is looked at.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A provider's side of a consumer.
pub(super) struct Link {
    pub(super) name: String,
    pub(super) location: String,
    pub(super) session: Session,
    pub(super) subscription: Subscription,
    pub(super) looked: Looked,
    pub(super) page_size: PageSize,
    /// The watermark that it was told last, and when.
    pub(super) told: Option<(i64, Instant)>,
}

impl Link {
    /// Connect to the node's provider as `consumer`.
    pub(super) fn connect(
        settings: &CascadeSettings,
        node: &Node,
        consumer: &str,
    ) -> Result<Self, Error> {
        let location = format!("{} {}", node.location, settings.remote_extra);
        let connector = Connector::new(location.trim_end())?.application_name(consumer);
        let mut session = Session::to_queue(connector);
        session.get()?;
        Ok(Self {
            name: node.provider.clone(),
            location: node.location.clone(),
            session,
            subscription: Subscription::new(&settings.queue, consumer),
            looked: Looked::NotYet,
            page_size: PageSize::at_most(PAGE_ROWS),
            told: None,
        })
    }

    pub(super) fn told_lately(&self) -> bool {
        self.told.is_some_and(|(_, when)| when.elapsed() < TELL)
    }

    /// Ask for a batch.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        let found = self.subscription.next_batch(self.session.get()?.0)?;
        self.looked = found.map_or(Looked::Nothing, |batch| Looked::Open(short(&batch)));
        Ok(())
    }

    /// Wait for a batch, in the server where it can, or for as long as `at_most`.
    pub(super) fn wait(&mut self, stop: &Stop, at_most: Duration) -> Result<(), Error> {
        let connector = self.session.connector().clone();
        let (client, features) = self.session.get()?;
        self.looked = Looked::NotYet;
        if !self.subscription.can_wait(features) {
            stop.sleep(at_most);
            return Ok(());
        }
        let timeout = LONGEST_WAIT;
        let found = self.subscription.wait_batch(client, features, &connector, stop, timeout)?;
        if let Some(batch) = found {
            self.looked = Looked::Open(short(&batch));
        }
        Ok(())
    }

    /// Have a tick laid, where that is in the provider's power: a branch waits for its own.
    pub(super) fn ask_for_tick(&mut self) {
        let queue = &self.subscription.queue;
        let asked = self.session.get().and_then(|(client, _)| ask_for_tick(client, queue));
        if let Err(error) = asked {
            log::debug!("{}: no tick: {error}", self.subscription.consumer);
        }
    }

    /// Finish the batch. That another process has done so is as good.
    pub(super) fn finish(&mut self, batch: Batch) -> Result<(), Error> {
        self.looked = Looked::NotYet;
        match self.subscription.finish(self.session.get()?.0, batch.id) {
            Err(error @ Error::BatchGone { .. }) => {
                log::debug!("{error}");
                Ok(())
            }
            other => other,
        }
    }
}

fn short(batch: &crate::batch::Batch) -> Batch {
    Batch { id: batch.id, previous: batch.previous_tick, tick: batch.tick }
}
