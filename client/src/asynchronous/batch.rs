//! A batch in the hands of an async function.

use std::time::Duration;

use postgres::types::Type;
use tokio_postgres::Transaction;

use crate::batch::Batch;
use crate::cursor::{self, PageSize};
use crate::error::Error;
use crate::event::Event;
use crate::stats::{BatchReport, Stats, count};
use crate::subscription::Subscription;
use crate::subscription::requests::open_cursor;

/// A batch: pages of events, and the transaction that finishes it. Dropped, it is given up and
/// comes again, and what was written in its transaction is undone.
pub struct AsyncBatch<'c> {
    batch: Batch,
    transaction: Transaction<'c>,
    subscription: &'c Subscription,
    size: &'c mut PageSize,
    stats: &'c mut Stats,
    first: Option<Vec<Event>>,
    exhausted: bool,
    report: BatchReport,
}

impl<'c> AsyncBatch<'c> {
    /// Open a batch in a transaction, and read its first page.
    pub(super) async fn open(
        batch: Batch,
        transaction: Transaction<'c>,
        subscription: &'c Subscription,
        filter: Option<&str>,
        size: &'c mut PageSize,
        stats: &'c mut Stats,
    ) -> Result<Self, Error> {
        let asked = size.rows();
        let request = open_cursor(batch.id, cursor::CURSOR, asked, filter);
        let rows = transaction.query_typed(&request.sql, &request.parameters()).await?;
        let page = rows.iter().map(Event::from_row).collect::<Result<Vec<_>, _>>()?;
        size.learn(&page);
        let exhausted = page.len() < asked;
        let report = BatchReport::empty(&batch);
        Ok(Self {
            batch,
            transaction,
            subscription,
            size,
            stats,
            first: Some(page),
            exhausted,
            report,
        })
    }

    /// The batch's ids and times.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The next events; none at the end. A page aims at some megabytes, however large the batch:
    /// its number of rows follows the size of the events before it.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Server`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<Event>>, Error> {
        let page = match self.first.take() {
            Some(page) => page,
            None if self.exhausted => return Ok(None),
            None => {
                let asked = self.size.rows();
                let rows = self.transaction.query_typed(&cursor::fetch(asked), &[]).await?;
                let page = rows.iter().map(Event::from_row).collect::<Result<Vec<_>, _>>()?;
                self.size.learn(&page);
                self.exhausted = page.len() < asked;
                page
            }
        };
        self.report.events += count(page.len());
        Ok((!page.is_empty()).then_some(page))
    }

    /// True when the batch has no events.
    pub(super) fn is_empty(&self) -> bool {
        self.exhausted && self.first.as_ref().is_some_and(Vec::is_empty)
    }

    /// Have an event of this batch come again after that time, in a batch of its own or with
    /// others. Counts once the batch is finished.
    ///
    /// # Errors
    /// [`Error::Server`] for an event that is not of this batch; [`Error::Lost`].
    pub async fn retry(&mut self, event: &Event, after: Duration) -> Result<(), Error> {
        // Rounded up: a retry must not come early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        self.transaction
            .query_typed_one(
                "select pgq.event_retry($1, $2, $3)",
                &[(&self.batch.id, Type::INT8), (&event.id, Type::INT8), (&seconds, Type::INT4)],
            )
            .await?;
        self.report.retried += 1;
        Ok(())
    }

    /// The transaction that finishes the batch: what is written here commits with it.
    pub fn transaction(&mut self) -> &mut Transaction<'c> {
        &mut self.transaction
    }

    /// Finish the batch, and commit what was written.
    ///
    /// # Errors
    /// [`Error::BatchGone`] when somebody else has finished it: nothing is committed then.
    /// [`Error::Server`], and [`Error::Lost`], after which it may be committed or not; as it is
    /// one transaction, the batch comes again exactly when its effects are undone.
    pub async fn finish(self) -> Result<BatchReport, Error> {
        let request = self.subscription.end(self.batch.id);
        let answer = self.transaction.query_typed_one(&request.sql, &request.parameters()).await?;
        self.subscription.finished(self.batch.id, &answer)?;
        self.transaction.commit().await?;
        self.stats.add(&self.report);
        Ok(self.report)
    }
}
