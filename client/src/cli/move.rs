//! `pgq move`: events of a queue into a queue of another database.

use super::transfer::Transfer;
use super::work::copy::copy;
use super::{Exit, Global};

/// Copy events into another queue.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Move {
    #[command(flatten)]
    transfer: Transfer,
    /// Queue in the target; by default of the same name
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<String>,
}

impl Move {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let queue = self.to_queue.as_ref().unwrap_or(&self.transfer.queue);
        self.transfer.run(global, None, |batch| copy(batch, queue))
    }
}
