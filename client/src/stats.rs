//! What a consumer has done.

use std::time::Duration;

use crate::batch::Batch;

/// Totals since the consumer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches finished, empty ones included.
    pub batches: u64,
    /// Events handed to the handler in finished batches.
    pub events: u64,
    /// Events that went to the retry queue.
    pub retried: u64,
    /// Events that went to the dead-letter queue.
    pub dead: u64,
    /// Batches found completed in the target already, after a crash between two commits.
    pub skipped: u64,
    /// Times the connection had to be made again.
    pub reconnects: u64,
    /// Time spent on batches.
    pub busy: Duration,
}

/// What became of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchReport {
    /// The batch.
    pub batch: Batch,
    /// Events handed to the handler.
    pub events: u64,
    /// Events that went to the retry queue.
    pub retried: u64,
    /// Events that went to the dead-letter queue.
    pub dead: u64,
    /// True when the target had it already.
    pub skipped: bool,
    /// From opening the batch to its commit.
    pub duration: Duration,
}

/// Called after each finished batch.
pub(crate) type Observer = Box<dyn FnMut(&BatchReport) + Send>;

/// How many things there are.
pub(crate) fn count(things: usize) -> u64 {
    u64::try_from(things).expect("memory holds fewer than 2^64 things")
}

impl BatchReport {
    /// Of a batch in which nothing happened.
    pub(crate) fn empty(batch: &Batch) -> Self {
        Self {
            batch: batch.clone(),
            events: 0,
            retried: 0,
            dead: 0,
            skipped: false,
            duration: Duration::ZERO,
        }
    }
}

impl Stats {
    pub(crate) fn add(&mut self, report: &BatchReport) {
        self.batches += 1;
        self.events += report.events;
        self.retried += report.retried;
        self.dead += report.dead;
        self.skipped += u64::from(report.skipped);
        self.busy += report.duration;
    }
}
