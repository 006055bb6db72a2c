//! `pgq split`: events of a queue over queues of another database, by a field.

use clap::ValueEnum;
use pgq_client::{Event, HandlerError, RemoteBatch};

use super::r#move::{insert, may_keep_time};
use super::transfer::Transfer;
use super::{Exit, Global};

/// Distribute events over queues.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Split {
    #[command(flatten)]
    transfer: Transfer,
    /// Field that holds the name of the queue an event goes to
    #[arg(long, value_enum, default_value_t = Field::Extra1)]
    by: Field,
}

/// A field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Field {
    Type,
    Extra1,
    Extra2,
    Extra3,
    Extra4,
}

impl Field {
    fn of(self, event: &Event) -> Option<&str> {
        match self {
            Self::Type => event.ev_type.as_deref(),
            Self::Extra1 => event.extra1.as_deref(),
            Self::Extra2 => event.extra2.as_deref(),
            Self::Extra3 => event.extra3.as_deref(),
            Self::Extra4 => event.extra4.as_deref(),
        }
    }
}

impl Split {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        self.transfer.run(global, |batch| distribute(batch, self.by))
    }
}

/// Distribute one batch. Events of one queue keep their order. An event without a queue's name stops everything: it must not be lost.
pub(super) fn distribute(
    batch: &mut RemoteBatch<'_, '_, '_>,
    by: Field,
) -> Result<(), HandlerError> {
    let keeps_time = may_keep_time(batch.target())?;
    while let Some(page) = batch.next_page()? {
        let mut queues: Vec<(String, Vec<Event>)> = Vec::new();
        for event in page {
            let Some(queue) = by.of(&event) else {
                return Err(format!("event {} names no queue in {by:?}", event.id).into());
            };
            match queues.iter_mut().find(|(name, _)| name == queue) {
                Some((_, events)) => events.push(event),
                None => queues.push((queue.to_owned(), vec![event])),
            }
        }
        for (queue, events) in queues {
            insert(batch.target(), &queue, &events, keeps_time)?;
        }
    }
    Ok(())
}
