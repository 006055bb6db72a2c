//! `pgq split`: events of a queue over queues of another database, by a field.

use super::transfer::Transfer;
use super::work::distribute::{Field, distribute, patterns};
use super::{Exit, Global};

/// Distribute events over queues.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Split {
    #[command(flatten)]
    transfer: Transfer,
    /// Field that holds the name of the queue an event goes to
    #[arg(long, value_enum, default_value_t = Field::Extra1)]
    by: Field,
    /// Write only to queues of this pattern, with * and ?; may be given more than once. A queue of
    /// a cascade, or of dead letters, must be named in full
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    only: Vec<String>,
    /// Queue, in the source, for events that name no queue they may go to; without it they stop
    /// everything
    #[arg(long, value_name = "QUEUE")]
    dead: Option<String>,
}

impl Split {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let only = patterns(&self.only);
        let dead = self.dead.as_deref();
        self.transfer.run(global, dead, |batch| distribute(batch, self.by, &only))
    }
}
