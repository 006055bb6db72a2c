//! A batch into the target, exactly once.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Target;
use super::batch::RemoteBatch;
use crate::batch::Batch;
use crate::cursor::{BatchCursor, Pages};
use crate::dead_letter;
use crate::error::{Error, HandlerError};
use crate::failpoint::{self, Step};
use crate::failure::panic_text;
use crate::intake::Intake;
use crate::stats::{BatchReport, count};

/// Process one batch, note in the target that it is done, and finish it.
pub(super) fn process<H>(
    intake: &mut Intake,
    target: &mut Target,
    batch: &Batch,
    handler: &mut H,
) -> Result<BatchReport, Error>
where
    H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
{
    let Intake { source, subscription, settings, page_size, .. } = intake;
    let Target { session: target, tracking } = target;
    let consumer = &subscription.consumer;
    let (source, _) = source.get()?;
    let (target, _) = target.get()?;
    let mut report = BatchReport::empty(batch);

    let mut there = target.transaction()?;
    report.skipped = tracking.is_done(&mut there, consumer, batch)?;
    failpoint::visit(Step::TargetChecked);
    if !report.skipped {
        let mut here = source.transaction()?;
        let filter = settings.filter.as_deref();
        let cursor = BatchCursor::open(&mut here, batch.id, filter, *page_size)?;
        failpoint::visit(Step::EventsRead);
        let dead_queue = settings.dead_letter_queue.as_deref();
        let mut open = RemoteBatch {
            batch,
            source: &mut here,
            target: &mut there,
            pages: Pages::new(cursor, settings.on_progress.as_mut()),
            stop: &settings.stop,
            dead: dead_queue.map(|_| Vec::new()),
        };
        let is_empty = open.pages.is_empty();
        if !is_empty {
            let result = catch_unwind(AssertUnwindSafe(|| handler(&mut open)));
            let result = result.unwrap_or_else(|panic| Err(panic_text(panic.as_ref()).into()));
            result.map_err(|source| Error::Handler { event_id: None, source })?;
            failpoint::visit(Step::HandlerDone);
        }
        let RemoteBatch { source: open_one, pages, dead, .. } = open;
        report.events = pages.handed_out();
        if let (Some(queue), Some(letters), false) = (dead_queue, dead, is_empty) {
            report.dead = count(letters.len());
            let of_queue = &subscription.queue;
            dead_letter::bury_once(open_one, queue, of_queue, consumer, letters)?;
            failpoint::visit(Step::DeadStored);
        }
        *page_size = pages.close(open_one)?;
        here.commit()?;
        tracking.set_done(&mut there, consumer, batch)?;
        failpoint::visit(Step::TrackingNoted);
    }
    there.commit()?;
    failpoint::visit(Step::TargetCommitted);
    subscription.finish(source, batch.id)?;
    failpoint::visit(Step::FinishCommitted);
    Ok(report)
}
