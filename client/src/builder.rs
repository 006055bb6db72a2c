//! Settings of a consumer, on the way to its connection.

use std::time::Duration;

use crate::intake::Settings;
use crate::stats::BatchReport;
use crate::stop::Stop;
use crate::subscription::{BatchRule, Subscription};

/// Builds a consumer of kind `K`. All settings have defaults that suit a small consumer.
pub struct Builder<K> {
    pub(crate) subscription: Subscription,
    pub(crate) settings: Settings,
    pub(crate) kind: K,
}

impl<K> Builder<K> {
    pub(crate) fn new(queue: &str, consumer: &str, kind: K) -> Self {
        let subscription = Subscription::new(queue, consumer);
        Self { subscription, settings: Settings::default(), kind }
    }

    /// The queue, beside the one that is consumed, for events that are given up or set aside. It is
    /// created when the role may do so.
    pub fn dead_letter_queue(mut self, queue: &str) -> Self {
        self.settings.dead_letter_queue = Some(queue.to_owned());
        self
    }

    /// Take only events that satisfy this SQL expression over the `ev_*` columns; the server leaves
    /// the others out. It is run as it is, with the consumer's rights: do not build it from input.
    pub fn filter(mut self, sql: &str) -> Self {
        self.settings.filter = Some(sql.to_owned());
        self
    }

    /// Which batches to take.
    pub fn batch_rule(mut self, rule: BatchRule) -> Self {
        self.subscription.rule = rule;
        self
    }

    /// Pause between looks for a batch, where the server has no `pgq.wait_batch`. Default 1 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// Longest wait in the server at a time; zero: never wait there, look every `poll_interval`.
    /// Through a pooler an idle consumer holds a server's connection for so long. Default 30 s.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.settings.wait_timeout = timeout;
        self
    }

    /// End the run once everything that was committed before it began has been handled; for events
    /// that have no tick yet it asks for one. When none comes the run fails with
    /// [`crate::Error::NoTick`]. With a [`BatchRule`] it ends when there is no batch.
    pub fn stop_when_empty(mut self, stop: bool) -> Self {
        self.settings.stop_when_empty = stop;
        self
    }

    /// End each run after this many batches of its own, empty ones included.
    pub fn max_batches(mut self, batches: u64) -> Self {
        self.settings.max_batches = Some(batches);
        self
    }

    /// Rows of a page at most. Default 10,000; pages of large events are smaller by themselves.
    pub fn page_rows(mut self, rows: usize) -> Self {
        self.settings.page_rows = rows.max(1);
        self
    }

    /// Stop by this handle, which several consumers may share.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.settings.stop = stop;
        self
    }

    /// Be told of each finished batch.
    pub fn observe(mut self, observer: impl FnMut(&BatchReport) + Send + 'static) -> Self {
        self.settings.observer = Some(Box::new(observer));
        self
    }

    /// Be told, while a batch is handled, how many of its events have been handed out.
    pub fn on_progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.settings.on_progress = Some(Box::new(progress));
        self
    }
}
