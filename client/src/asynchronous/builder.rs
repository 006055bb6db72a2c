//! Settings of an asynchronous consumer.

use std::time::Duration;

use super::AsyncConsumer;
use super::session::Session;
use super::stop::AsyncStop;
use crate::connector::Connector;
use crate::cursor::PageSize;
use crate::error::Error;
use crate::stats::Stats;
use crate::subscription::{BatchRule, Subscription};

pub(super) struct Settings {
    pub(super) filter: Option<String>,
    pub(super) poll_interval: Duration,
    pub(super) wait_timeout: Duration,
    pub(super) max_batches: Option<u64>,
    pub(super) stop: AsyncStop,
}

/// Builds an [`AsyncConsumer`]. All settings have defaults that suit a small consumer.
pub struct AsyncConsumerBuilder {
    subscription: Subscription,
    settings: Settings,
    page_rows: usize,
}

impl AsyncConsumerBuilder {
    pub(super) fn new(queue: &str, consumer: &str) -> Self {
        // The defaults are those of the blocking consumer.
        let common = crate::intake::Settings::default();
        let settings = Settings {
            filter: None,
            poll_interval: common.poll_interval,
            wait_timeout: common.wait_timeout,
            max_batches: None,
            stop: AsyncStop::new(),
        };
        let subscription = Subscription::new(queue, consumer);
        Self { subscription, settings, page_rows: common.page_rows }
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
    /// Default 30 s.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.settings.wait_timeout = timeout;
        self
    }

    /// End each [`AsyncConsumer::run_batches`] after this many batches, empty ones included.
    pub fn max_batches(mut self, batches: u64) -> Self {
        self.settings.max_batches = Some(batches);
        self
    }

    /// Rows of a page at most. Default 10,000; pages of large events are smaller by themselves.
    pub fn page_rows(mut self, rows: usize) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// Stop by this handle, which several consumers may share.
    pub fn stop(mut self, stop: AsyncStop) -> Self {
        self.settings.stop = stop;
        self
    }

    /// To the database of a connection string in libpq's syntax. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Config`] for a connection string that cannot be used.
    pub fn connect(self, dsn: &str) -> Result<AsyncConsumer, Error> {
        Ok(self.connect_with(Connector::new(dsn)?))
    }

    /// The same, where a [`Connector`] leads.
    pub fn connect_with(self, connector: Connector) -> AsyncConsumer {
        AsyncConsumer {
            session: Session::new(connector),
            subscription: self.subscription,
            settings: self.settings,
            page_size: PageSize::at_most(self.page_rows),
            stats: Stats::default(),
        }
    }
}
