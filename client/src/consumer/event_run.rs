//! A batch, event by event.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::failures::Failures;
use crate::batch::Batch;
use crate::cursor::BatchCursor;
use crate::dead_letter;
use crate::error::{Error, HandlerError, handler_text};
use crate::event::Event;
use crate::failpoint::{self, Step};
use crate::failure::{Fate, OnFailure, Outcome, panic_text};
use crate::intake::Intake;
use crate::stats::BatchReport;
use crate::work::Work;

/// Process and finish one batch in one transaction; none when stopped in the middle.
pub(super) fn process<R, H>(
    intake: &mut Intake,
    on_failure: &OnFailure,
    batch: &Batch,
    handler: &mut H,
) -> Result<Option<BatchReport>, Error>
where
    R: Into<Outcome>,
    H: FnMut(&mut Work<'_, '_>, &Event) -> Result<R, HandlerError>,
{
    let Intake { source, subscription, settings, page_size, .. } = intake;
    let stop = &settings.stop;
    let consumer_name = subscription.full_name();
    let (client, features) = source.get()?;
    let on_failure = on_failure.on(features);
    let mut transaction = client.transaction()?;
    let filter = settings.filter.as_deref();
    let mut cursor = BatchCursor::open(&mut transaction, batch.id, filter, *page_size)?;
    failpoint::visit(Step::EventsRead);
    let mut failures = Failures::of(&consumer_name, batch.id);
    let mut events = 0;
    let mut dead = 0;
    while let Some(page) = cursor.next_page(&mut transaction)? {
        for event in &page {
            if stop.is_now() {
                transaction.rollback()?;
                return Ok(None);
            }
            if let Some(progress) = &mut settings.on_progress {
                progress(events);
            }
            events += 1;
            let mut work = Work::new(&mut transaction);
            let result = catch_unwind(AssertUnwindSafe(|| handler(&mut work, event)));
            let result = match result {
                Ok(result) => result.map(Into::into),
                Err(panic) => Err(panic_text(panic.as_ref()).into()),
            };
            failpoint::visit(Step::HandlerDone);
            if let (Err(error), true) = (&result, stop.is_requested()) {
                // What a stop broke off has not failed: no attempt is counted.
                let why = handler_text(error.as_ref());
                log::info!(
                    "{consumer_name}: stopped at event {}, which comes again: {why}",
                    event.id
                );
                transaction.rollback()?;
                return Ok(None);
            }
            match on_failure.judge(event, result) {
                Fate::Done => work.keep()?,
                Fate::Retry { after, why } => {
                    work.undo()?;
                    failures.retry(event, after, why);
                }
                Fate::Aside { after, why } => {
                    work.undo()?;
                    failures.put_aside(event, after, &why);
                }
                Fate::Dead { why } => {
                    work.undo()?;
                    let Some(queue) = &settings.dead_letter_queue else {
                        return Err(Error::Config(format!(
                            "consumer \"{consumer_name}\" gave up event {} but has no dead-letter queue: {why}",
                            event.id
                        )));
                    };
                    dead += 1;
                    log::warn!("{consumer_name}: event {} is dead: {why}", event.id);
                    dead_letter::bury(
                        &mut transaction,
                        queue,
                        &subscription.queue,
                        &subscription.consumer,
                        event,
                        &why,
                    )?;
                    failpoint::visit(Step::DeadStored);
                }
                Fate::Repeat { source } => {
                    return Err(Error::Handler { event_id: Some(event.id), source });
                }
            }
        }
        failures.flush(&mut transaction)?;
    }
    *page_size = cursor.close(&mut transaction)?;
    subscription.finish(&mut transaction, batch.id)?;
    failpoint::visit(Step::FinishSent);
    transaction.commit()?;
    failpoint::visit(Step::FinishCommitted);
    let (retried, given_up) = failures.counted();
    let dead = dead + given_up;
    Ok(Some(BatchReport { events, retried, dead, ..BatchReport::empty(batch) }))
}
