//! Settings of a consumer.

use std::time::Duration;

use super::{Consumer, Observer, OnProgress, Settings};
use crate::connector::Connector;
use crate::cursor::PageSize;
use crate::error::Error;
use crate::failure::OnFailure;
use crate::intake::Intake;
use crate::position::PositionFile;
use crate::session::Session;
use crate::stats::{BatchReport, Stats};
use crate::stop::Stop;
use crate::subscription::{BatchRule, Member, Subscription};

/// Rows of a page at most; the size of the events may make it fewer.
pub(crate) const PAGE_ROWS: usize = 10_000;

/// Builds a [`Consumer`]. All settings have defaults that suit a small consumer.
pub struct ConsumerBuilder {
    subscription: Subscription,
    settings: Settings,
    intake: Intake,
    page_rows: usize,
    stop: Stop,
    observer: Option<Observer>,
    on_progress: Option<OnProgress>,
    position: Option<PositionFile>,
}

impl ConsumerBuilder {
    pub(super) fn new(queue: &str, consumer: &str) -> Self {
        Self {
            subscription: Subscription::new(queue, consumer),
            settings: Settings {
                on_failure: OnFailure::default(),
                dead_letter_queue: None,
                filter: None,
                max_batches: None,
            },
            intake: Intake::default(),
            page_rows: PAGE_ROWS,
            stop: Stop::new(),
            observer: None,
            on_progress: None,
            position: None,
        }
    }

    /// Be a member of a group that shares the consumer's position (extension pgq_coop): each batch
    /// goes to one member, so batches are processed side by side and out of order. A member that
    /// has not been heard of for `takeover` loses its batch to another.
    pub fn cooperative(mut self, member: &str, takeover: Option<Duration>) -> Self {
        self.subscription.member = Some(Member { name: member.to_owned(), takeover });
        self
    }

    /// Keep the position in this file, for effects on this machine that are restored together with
    /// it: python-pgq's LocalConsumer. At the start and after failures the queue is made to follow
    /// the file; the consumer is registered when it is not. Effects are at least once, those in the
    /// queue's database too.
    pub fn position_file(mut self, path: &std::path::Path) -> Self {
        self.position = Some(PositionFile::new(path));
        self
    }

    /// What follows a handler's failure. Default: retry for ever, 10 s to 1 h apart.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.settings.on_failure = on_failure;
        self
    }

    /// The queue, in the same database, for events that are given up. It is created when the role
    /// may do so.
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
        self.intake.poll_interval = interval;
        self
    }

    /// Longest wait in the server at a time; zero: never wait there, look every `poll_interval`.
    /// Through a pooler an idle consumer holds a server's connection for so long. Default 30 s.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.intake.wait_timeout = timeout;
        self
    }

    /// Return from `run` once everything that was committed before it began has been handled; for
    /// events that have no tick yet it asks for one. When none comes `run` fails with
    /// [`Error::NoTick`]. With a [`BatchRule`] it returns when there is no batch.
    pub fn stop_when_empty(mut self, stop: bool) -> Self {
        self.intake.stop_when_empty = stop;
        self
    }

    /// Return from `run` after this many batches.
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

    /// Connect.
    ///
    /// # Errors
    /// [`Error::Config`] when attempts are limited but there is no dead-letter queue, or for a
    /// cooperative consumer with a position file; [`Error::Connect`]; [`Error::Missing`] without
    /// extension pgq, or pgq_coop for a cooperative consumer.
    pub fn connect(self, dsn: &str) -> Result<Consumer, Error> {
        self.connect_to(Connector::new(dsn)?)
    }

    /// Connect with a connector made before.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::connect`].
    pub fn connect_to(self, connector: Connector) -> Result<Consumer, Error> {
        let limited =
            matches!(self.settings.on_failure, OnFailure::Retry { max_attempts: Some(_), .. });
        if limited && self.settings.dead_letter_queue.is_none() {
            return Err(Error::Config(
                "a maximum of attempts needs a dead-letter queue for what exceeds it".to_owned(),
            ));
        }
        if self.position.is_some() && self.subscription.member.is_some() {
            return Err(Error::Config(
                "a cooperative member has no position of its own to keep in a file".to_owned(),
            ));
        }
        let connector = connector.application_name(&self.subscription.full_name());
        let mut session = Session::to_queue(connector);
        let (_, features) = session.get()?;
        if self.subscription.member.is_some() && !features.coop {
            return Err(Error::Missing(
                "cooperative consumers need extension pgq_coop: run \"create extension pgq_coop\""
                    .to_owned(),
            ));
        }
        Ok(Consumer {
            session,
            subscription: self.subscription,
            settings: self.settings,
            intake: self.intake,
            page_size: PageSize::at_most(self.page_rows),
            stop: self.stop,
            stats: Stats::default(),
            observer: self.observer,
            on_progress: self.on_progress,
            dead_letter_ready: false,
            position: self.position,
            aligned: false,
        })
    }
}
