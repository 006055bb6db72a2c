//! Events of a batch that come again later: by the consumer's own policy, or by the queue's.

use std::time::Duration;

use pgq_connect::redact;
use postgres::Transaction;
use postgres::types::Type;

use crate::error::Error;
use crate::event::Event;
use crate::failpoint::{self, Step};

/// What an interval can hold, and more than anybody waits.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Failed events, written for each page.
pub(super) struct Failures<'b> {
    consumer: &'b str,
    batch_id: i64,
    retry: Retry,
    aside: Aside,
    retried: u64,
    dead: u64,
    logged: Option<String>,
}

/// For the retry queue.
#[derive(Default)]
struct Retry {
    ids: Vec<i64>,
    seconds: Vec<i32>,
}

/// For `pgq.nack`.
#[derive(Default)]
struct Aside {
    ids: Vec<i64>,
    after: Vec<Option<String>>,
    reasons: Vec<String>,
}

impl<'b> Failures<'b> {
    pub(super) fn of(consumer: &'b str, batch_id: i64) -> Self {
        let (retry, aside) = (Retry::default(), Aside::default());
        Self { consumer, batch_id, retry, aside, retried: 0, dead: 0, logged: None }
    }

    pub(super) fn retry(&mut self, event: &Event, after: Duration, why: Option<String>) {
        // Rounded up: a retry must not come early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.retry.ids.push(event.id);
        self.retry.seconds.push(i32::try_from(seconds).unwrap_or(i32::MAX));
        if let Some(why) = why {
            self.say(event, &why);
        }
    }

    /// The letter's readers may be others than the log's: no passwords.
    pub(super) fn put_aside(&mut self, event: &Event, after: Option<Duration>, why: &str) {
        self.aside.ids.push(event.id);
        self.aside
            .after
            .push(after.map(|after| format!("{} microseconds", after.min(LONGEST).as_micros())));
        self.aside.reasons.push(redact(why));
        self.say(event, why);
    }

    /// One line for a failure that a whole batch shares.
    fn say(&mut self, event: &Event, why: &str) {
        if self.logged.as_deref() != Some(why) {
            let (consumer, attempt) = (self.consumer, event.attempt());
            log::warn!("{consumer}: event {} failed (attempt {attempt}): {why}", event.id);
            self.logged = Some(why.to_owned());
        }
    }

    /// How many come again, and how many do not.
    pub(super) fn counted(&self) -> (u64, u64) {
        (self.retried, self.dead)
    }

    /// Write those of the page, in the transaction that finishes the batch.
    pub(super) fn flush(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Error> {
        let before = self.retried;
        self.flush_retry(transaction)?;
        self.flush_aside(transaction)?;
        let retried = self.retried - before;
        if retried > 0 {
            let (consumer, batch) = (self.consumer, self.batch_id);
            log::info!("{consumer}: {retried} events of batch {batch} will be retried");
        }
        Ok(())
    }

    fn flush_retry(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Error> {
        let Retry { ids, seconds } = std::mem::take(&mut self.retry);
        if ids.is_empty() {
            return Ok(());
        }
        transaction.execute_typed(
            "select pgq.event_retry($1, e.id, e.seconds)
               from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3)) as e (id, seconds)",
            &[(&self.batch_id, Type::INT8), (&ids, Type::INT8_ARRAY), (&seconds, Type::INT4_ARRAY)],
        )?;
        failpoint::visit(Step::RetryStored);
        self.retried += crate::stats::count(ids.len());
        Ok(())
    }

    fn flush_aside(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Error> {
        let Aside { ids, after, reasons } = std::mem::take(&mut self.aside);
        if ids.is_empty() {
            return Ok(());
        }
        let rows = transaction.query_typed(
            "select e.id, e.reason,
                    pgq.nack($1, e.id, e.after::pg_catalog.interval, e.reason)
               from rows from (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
                    as e (id, after, reason)",
            &[
                (&self.batch_id, Type::INT8),
                (&ids, Type::INT8_ARRAY),
                (&after, Type::TEXT_ARRAY),
                (&reasons, Type::TEXT_ARRAY),
            ],
        )?;
        failpoint::visit(Step::RetryStored);
        for row in rows {
            if row.try_get::<_, &str>(2)? == "dead" {
                let (id, why): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
                log::warn!("{}: event {id} is dead: {why}", self.consumer);
                failpoint::visit(Step::DeadStored);
                self.dead += 1;
            } else {
                self.retried += 1;
            }
        }
        Ok(())
    }
}
