//! `pgq consume`: print events, feed them to a program, or to an SQL function.

use clap::ValueEnum;
use pgq_client::{Connector, Consumer, ConsumerBuilder, Error, HandlerError, OnFailure, Stop};

use super::output::remark;
use super::progress::{Progress, count_on, follow, handled, pending};
use super::seconds::seconds;
use super::work::command::ShellCommand;
use super::work::function::{event_to_sql, function_call};
use super::work::line::Form;
use super::work::retry_policy::RetryPolicy;
use super::work::stdout::batch_to_stdout;
use super::{Exit, Global, signals};

/// Consume events.
#[derive(Debug, clap::Args)]
pub(super) struct Consume {
    /// Name of the queue
    queue: String,
    /// Name of the consumer
    consumer: String,
    /// Register the consumer first, if it is not
    #[arg(long)]
    register: bool,
    /// Stop when everything that is committed now has been consumed
    #[arg(long)]
    once: bool,
    /// Run this shell command for each event, the event as JSON on its standard input; exit code 0
    /// is done, 75 retry, others are failures
    #[arg(long, value_name = "COMMAND", conflicts_with = "sql")]
    exec: Option<String>,
    /// Run the command once per batch instead, all its events as JSON lines on its standard input;
    /// a failure repeats the batch
    #[arg(long, requires = "exec")]
    per_batch: bool,
    /// Call this SQL function with each event as jsonb, in the transaction that finishes the batch:
    /// exactly once
    #[arg(long, value_name = "FUNCTION")]
    sql: Option<String>,
    /// Write events in the queue API's words: msg_id, type, payload, key, headers, retry_count,
    /// created_at
    #[arg(long)]
    messages: bool,
    /// What follows a failure of a single event
    #[arg(long, value_enum, default_value_t = Failure::Retry, value_name = "WHAT")]
    on_failure: Failure,
    /// Seconds before the first retry; each further one takes twice as long, up to an hour. Without
    /// it, --max-attempts and --dead, the queue's own settings and dead letters are used (PgQ 4.1)
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<f64>,
    /// Give an event up after this many attempts; needs --dead
    #[arg(long, requires = "dead", value_name = "N")]
    max_attempts: Option<u32>,
    /// Queue for events that are given up
    #[arg(long, value_name = "QUEUE")]
    dead: Option<String>,
    /// Take only events for which this SQL expression over ev_type, ev_data, ev_extra1 … is true
    #[arg(long, value_name = "SQL")]
    filter: Option<String>,
    /// Share the consumer with other processes, as this member (pgq_coop)
    #[arg(long, value_name = "MEMBER")]
    cooperative: Option<String>,
    /// Take over batches of members that have been silent for so many seconds
    #[arg(long, requires = "cooperative", value_name = "SECONDS")]
    takeover: Option<f64>,
    /// Longest wait for events in the server, in seconds: for so long an idle consumer holds a
    /// pooler's connection; 0: only look now and then
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    wait: f64,
    /// Seconds between looks for a batch, with --wait 0 and on servers without pgq.wait_batch
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    poll: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Failure {
    /// The event comes again later, the others go on
    Retry,
    /// Roll back the batch and take it again until it succeeds
    Repeat,
    /// Roll back the batch and end with exit code 7
    Stop,
}

impl Consume {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let stop = Stop::new();
        signals::stop_by(&stop)?;
        let connector = global.connector()?;
        let bar = self.progress(&connector);
        let mut consumer = self.builder(&stop, &bar)?.connect_to(connector)?;
        if self.register {
            consumer.register()?;
        }
        let form = if self.messages { Form::Messages } else { Form::Events };
        let mut last = LastFailure { stop: &stop, failure: None };
        match (&self.exec, &self.sql) {
            (Some(command), _) if self.per_batch => {
                let command = ShellCommand::new(command, &stop, form);
                consumer.run_batches(|batch| command.take_batch(batch))?;
            }
            (Some(command), _) => {
                let stops = self.on_failure == Failure::Stop;
                let command = ShellCommand::new(command, &stop, form);
                consumer.run(|_, event| last.keep(command.take_event(event), stops))?;
            }
            (None, Some(function)) => {
                let stops = self.on_failure == Failure::Stop;
                let sql = function_call(&global.connector()?, function)?;
                consumer
                    .run(|work, event| last.keep(event_to_sql(work, event, &sql, form), stops))?;
            }
            (None, None) => {
                // A reader that went away, or a full disk, does not come back by trying again.
                consumer.run_batches(|batch| last.keep(batch_to_stdout(batch, form), true))?;
            }
        }
        bar.finish();
        if let Some(failure) = last.failure {
            return Err(Error::Handler { event_id: None, source: failure }.into());
        }
        if self.once && !global.quiet {
            let stats = consumer.stats();
            remark(&handled(&stats));
        }
        Ok(Exit::Ok)
    }

    /// Standard output to a terminal shows the events themselves.
    fn progress(&self, connector: &Connector) -> Progress {
        if self.exec.is_none() && self.sql.is_none() {
            return Progress::hidden();
        }
        let total = self.once.then(|| pending(connector, &self.queue, &self.consumer)).flatten();
        Progress::new(total, "consumed")
    }

    fn builder(&self, stop: &Stop, bar: &Progress) -> Result<ConsumerBuilder, Error> {
        let on_failure = match self.on_failure {
            Failure::Retry => RetryPolicy {
                after: self.retry_after.map(|value| seconds("--retry-after", value)).transpose()?,
                max_attempts: self.max_attempts,
                has_queue: self.dead.is_some(),
            }
            .on_failure(),
            Failure::Repeat | Failure::Stop => OnFailure::RepeatBatch,
        };
        let mut builder = Consumer::builder(&self.queue, &self.consumer)
            .stop(stop.clone())
            .stop_when_empty(self.once)
            .wait_timeout(seconds("--wait", self.wait)?)
            .poll_interval(seconds("--poll", self.poll)?)
            .on_failure(on_failure)
            .observe(count_on(bar))
            .on_progress(follow(bar));
        if let Some(queue) = &self.dead {
            builder = builder.dead_letter_queue(queue);
        }
        if let Some(filter) = &self.filter {
            builder = builder.filter(filter);
        }
        if let Some(member) = &self.cooperative {
            let takeover = self.takeover.map(|value| seconds("--takeover", value)).transpose()?;
            builder = builder.cooperative(member, takeover);
        }
        Ok(builder)
    }
}

/// Ends the run at the first failure, and keeps it for the exit code.
struct LastFailure<'s> {
    stop: &'s Stop,
    failure: Option<HandlerError>,
}

impl LastFailure<'_> {
    fn keep<T>(&mut self, result: Result<T, HandlerError>, stops: bool) -> Result<T, HandlerError> {
        match result {
            Err(error) if stops => {
                let text = error.to_string();
                self.stop.now();
                self.failure = Some(error);
                Err(text.into())
            }
            other => other,
        }
    }
}
