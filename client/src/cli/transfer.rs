//! What `move`, `split` and `load` have in common: a queue here, a database there, exactly once.

use pgq_client::{Connector, Error, HandlerError, RemoteBatch, RemoteConsumer, Stats, Stop};
use serde_json::json;

use super::output::{Format, done};
use super::progress::{self, Progress, count_on, follow, handled};
use super::seconds::seconds;
use super::{Exit, Global, signals};

/// Options of commands that consume into another database.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Transfer {
    /// Name of the queue
    pub(super) queue: String,
    /// Name of the consumer
    consumer: String,
    /// Connection string of the target database; extension pgq_ext must be there
    #[arg(long, value_name = "DSN")]
    to: String,
    /// Register the consumer first, if it is not
    #[arg(long)]
    register: bool,
    /// Stop when everything that is committed now has been transferred
    #[arg(long)]
    once: bool,
    /// Move the consumer back to where the target is, then go on: after a restore
    #[arg(long, conflicts_with = "reset")]
    rewind: bool,
    /// Forget where the target is, then go on from where the consumer is
    #[arg(long)]
    reset: bool,
    /// Take only events for which this SQL expression over ev_type, ev_data, ev_extra1 … is true
    #[arg(long, value_name = "SQL")]
    filter: Option<String>,
    /// Longest wait for events in the server, in seconds: for so long an idle consumer holds a
    /// pooler's connection; 0: only look now and then
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    wait: f64,
    /// Seconds between looks for a batch, with --wait 0 and on servers without pgq.wait_batch
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    poll: f64,
}

impl Transfer {
    /// Connect and prepare as the options say.
    fn connect(
        &self,
        source: Connector,
        dead: Option<&str>,
        stop: &Stop,
        bar: &Progress,
    ) -> Result<RemoteConsumer, Error> {
        let target = Connector::new(&self.to)?;
        let mut builder = RemoteConsumer::builder(&self.queue, &self.consumer)
            .stop(stop.clone())
            .stop_when_empty(self.once)
            .wait_timeout(seconds("--wait", self.wait)?)
            .poll_interval(seconds("--poll", self.poll)?)
            .observe(count_on(bar))
            .on_progress(follow(bar));
        if let Some(filter) = &self.filter {
            builder = builder.filter(filter);
        }
        if let Some(queue) = dead {
            builder = builder.dead_letter_queue(queue);
        }
        let mut consumer = builder.connect(source, target)?;
        if self.register {
            consumer.register()?;
        }
        if self.rewind {
            let tick = consumer.rewind()?;
            log::info!("consumer \"{}\" went back to tick {tick}", self.consumer);
        }
        if self.reset {
            consumer.reset()?;
        }
        Ok(consumer)
    }

    /// Connect, ready to run until a signal, or until there is nothing more. `dead` is the queue
    /// for events that the handler sets aside.
    pub(super) fn open(&self, global: &Global, dead: Option<&str>) -> anyhow::Result<Open> {
        let stop = Stop::new();
        signals::stop_by(&stop)?;
        let source = global.connector()?;
        let pending = || progress::pending(&source, &self.queue, &self.consumer);
        let bar = Progress::new(self.once.then(pending).flatten(), "transferred");
        let consumer = self.connect(source, dead, &stop, &bar)?;
        Ok(Open { consumer, bar, format: global.format() })
    }

    /// Open, and run.
    pub(super) fn run<H>(
        &self,
        global: &Global,
        dead: Option<&str>,
        handler: H,
    ) -> anyhow::Result<Exit>
    where
        H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        self.open(global, dead)?.run(handler)
    }
}

/// A transfer that is connected.
pub(super) struct Open {
    pub(super) consumer: RemoteConsumer,
    bar: Progress,
    format: Format,
}

impl Open {
    pub(super) fn run<H>(mut self, handler: H) -> anyhow::Result<Exit>
    where
        H: FnMut(&mut RemoteBatch<'_, '_, '_>) -> Result<(), HandlerError>,
    {
        let stats: Stats = self.consumer.run_batches(handler)?;
        self.bar.finish();
        done(
            self.format,
            &handled(&stats),
            &[
                ("events", json!(stats.events)),
                ("dead", json!(stats.dead)),
                ("batches", json!(stats.batches)),
                ("skipped_batches", json!(stats.skipped)),
            ],
        )?;
        Ok(Exit::Ok)
    }
}
