//! A batch into the node's database, with the position of whoever applies it: worker or copier.

use pgq_replica::cascade::calls;
use pgq_replica::cascade::replay::{Replay, Role};
use pgq_replica::cascade::round::Batch;

use super::link::Link;
use super::local::{copy_events, lock_events};
use crate::cursor::BatchCursor;
use crate::error::Error;
use crate::failpoint;
use crate::session::Session;
use crate::statements::Statements;
use crate::stop::Stop;

/// Apply a batch, and note its tick as completed, in one transaction; with `keeps_events` it goes
/// into the node's own queue, too. False when it is not to be applied now: another process has
/// done so, or a copier has to come level first.
pub(super) fn apply(
    link: &mut Link,
    local: &mut Session,
    replay: &mut Replay,
    stop: &Stop,
    (batch, role): (Batch, Role<'_>),
    keeps_events: bool,
) -> Result<bool, Error> {
    let applied = try_apply(link, local, replay, stop, (batch, role), keeps_events);
    match &applied {
        Ok(_) => replay.careful = false,
        Err(error) => {
            replay.careful |= error.is_of_event();
            replay.forget_columns();
        }
    }
    applied
}

fn try_apply(
    link: &mut Link,
    local: &mut Session,
    replay: &mut Replay,
    stop: &Stop,
    (batch, role): (Batch, Role<'_>),
    keeps_events: bool,
) -> Result<bool, Error> {
    let (queue, consumer) = (&link.subscription.queue, &link.subscription.consumer);
    let mut there = link.session.get()?.0.transaction()?;
    let mut here = local.get()?.0.transaction()?;
    calls::begin(&mut Statements(&mut here))?;
    let events = keeps_events.then(|| lock_events(&mut here, queue)).transpose()?;
    if !replay.claim(&mut Statements(&mut here), consumer, batch, role)? {
        return Ok(false);
    }
    if let Some(table) = events {
        copy_events(&mut there, &mut here, &table, batch.id)?;
    }
    let filter = replay.filter(role);
    let size = link.page_size;
    link.page_size =
        BatchCursor::each_page(&mut there, batch.id, filter.as_deref(), size, |page| {
            failpoint::visit(failpoint::Step::EventsRead);
            if stop.is_now() {
                return Err(Error::Lost("stopped in the middle of a batch".to_owned()));
            }
            replay.page(&mut Statements(&mut here), &page, role)
        })?;
    there.commit()?;
    calls::complete(&mut Statements(&mut here), queue, consumer, batch.tick)?;
    failpoint::visit(failpoint::Step::TrackingNoted);
    here.commit()?;
    failpoint::visit(failpoint::Step::TargetCommitted);
    Ok(true)
}
