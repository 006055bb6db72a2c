//! Settings of a remote consumer.

use std::time::Duration;

use super::{RemoteConsumer, Tracking};
use crate::connector::Connector;
use crate::consumer::{Observer, OnProgress, PAGE_ROWS};
use crate::cursor::PageSize;
use crate::error::Error;
use crate::intake::Intake;
use crate::session::Session;
use crate::stats::{BatchReport, Stats};
use crate::stop::Stop;
use crate::subscription::{BatchRule, Subscription};

/// Builds a [`RemoteConsumer`].
pub struct RemoteConsumerBuilder {
    subscription: Subscription,
    tracking: Tracking,
    filter: Option<String>,
    intake: Intake,
    page_rows: usize,
    stop: Stop,
    observer: Option<Observer>,
    on_progress: Option<OnProgress>,
    dead_letter_queue: Option<String>,
}

impl RemoteConsumerBuilder {
    pub(super) fn new(queue: &str, consumer: &str) -> Self {
        Self {
            subscription: Subscription::new(queue, consumer),
            tracking: Tracking::default(),
            filter: None,
            intake: Intake::default(),
            page_rows: PAGE_ROWS,
            stop: Stop::new(),
            observer: None,
            on_progress: None,
            dead_letter_queue: None,
        }
    }

    /// How the target remembers. Default: by tick.
    pub fn tracking(mut self, tracking: Tracking) -> Self {
        self.tracking = tracking;
        self
    }

    /// Take only events that satisfy this SQL expression over the `ev_*` columns; see
    /// [`crate::ConsumerBuilder::filter`].
    pub fn filter(mut self, sql: &str) -> Self {
        self.filter = Some(sql.to_owned());
        self
    }

    /// Which batches to take.
    pub fn batch_rule(mut self, rule: BatchRule) -> Self {
        self.subscription.rule = rule;
        self
    }

    /// Pause between looks for a batch, where the server has no `pgq.wait_batch`. Default 1 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.intake.poll_interval = interval;
        self
    }

    /// Longest wait in the server at a time; zero: never wait there, look every `poll_interval`.
    /// Through a pooler an idle consumer holds a server's connection for so long. Default 30 s.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.intake.wait_timeout = timeout;
        self
    }

    /// Return from `run_batches` once everything that was committed before it began has been
    /// handled; for events that have no tick yet it asks for one. When none comes `run_batches`
    /// fails with [`Error::NoTick`]. With a [`BatchRule`] it returns when there is no batch.
    pub fn stop_when_empty(mut self, stop: bool) -> Self {
        self.intake.stop_when_empty = stop;
        self
    }

    /// Rows of a page at most. Default 10,000; pages of large events are smaller by themselves.
    pub fn page_rows(mut self, rows: usize) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// The queue, in the source, for events that [`super::RemoteBatch::bury`] sets aside. It is
    /// created when the role may do so.
    pub fn dead_letter_queue(mut self, queue: &str) -> Self {
        self.dead_letter_queue = Some(queue.to_owned());
        self
    }

    /// Stop by this handle, which several consumers may share.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Be told of each finished batch.
    pub fn observe(mut self, observer: impl FnMut(&BatchReport) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Be told, while a batch is handled, how many of its events have been handed out.
    pub fn on_progress(mut self, progress: impl FnMut(u64) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(progress));
        self
    }

    /// Connect to the queue's database and to the target.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::Missing`] without extension pgq in the source or pgq_ext in the
    /// target.
    pub fn connect(self, source: Connector, target: Connector) -> Result<RemoteConsumer, Error> {
        let name = &self.subscription.consumer;
        let mut source = Session::to_queue(source.application_name(name));
        let mut target = Session::to_target(target.application_name(name));
        source.get()?;
        if !target.get()?.1.ext {
            return Err(Error::Missing(format!(
                "{}: extension pgq_ext is not installed there; run \"create extension pgq_ext\"",
                target.connector().label()
            )));
        }
        Ok(RemoteConsumer {
            source,
            target,
            subscription: self.subscription,
            tracking: self.tracking,
            filter: self.filter,
            intake: self.intake,
            page_size: PageSize::at_most(self.page_rows),
            stop: self.stop,
            stats: Stats::default(),
            observer: self.observer,
            on_progress: self.on_progress,
            dead_letter_queue: self.dead_letter_queue,
            dead_letter_ready: false,
        })
    }
}
