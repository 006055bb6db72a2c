//! `pgq consume`: print events, feed them to a program, or to an SQL function.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::ValueEnum;
use pgq_client::{
    Backoff, BatchReport, Connector, Consumer, ConsumerBuilder, Error, Event, HandlerError,
    OnFailure, OpenBatch, Outcome, ServerError, Stats, Stop, Work,
};
use postgres::Row;
use postgres::types::Type;
use serde::Serialize;

use super::handler::ShellCommand;
use super::output::{counted, remark};
use super::progress::Progress;
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
    /// What follows a failure of a single event
    #[arg(long, value_enum, default_value_t = Failure::Retry, value_name = "WHAT")]
    on_failure: Failure,
    /// Seconds before the first retry; each further one takes twice as long, up to an hour
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    retry_after: f64,
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
    /// Put the event into the retry queue, go on with the others
    Retry,
    /// Roll back the batch and take it again until it succeeds
    Repeat,
    /// Roll back the batch and end with exit code 7
    Stop,
}

impl Consume {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let stop = Stop::new();
        signals::handle(&stop, false)?;
        let connector = global.connector()?;
        let bar = self.progress(&connector);
        let mut consumer = self.builder(&stop, &bar)?.connect_to(connector)?;
        if self.register {
            consumer.register()?;
        }
        let mut last = LastFailure { stop: &stop, failure: None };
        match (&self.exec, &self.sql) {
            (Some(command), _) if self.per_batch => {
                let command = ShellCommand::new(command, &stop);
                consumer.run_batches(|batch| command.take_batch(batch))?;
            }
            (Some(command), _) => {
                let stops = self.on_failure == Failure::Stop;
                let command = ShellCommand::new(command, &stop);
                consumer.run(|_, event| last.keep(command.take_event(event), stops))?;
            }
            (None, Some(function)) => {
                let stops = self.on_failure == Failure::Stop;
                let sql = function_call(&global.connector()?, function)?;
                consumer.run(|work, event| last.keep(event_to_sql(work, event, &sql), stops))?;
            }
            (None, None) => {
                // A reader that went away, or a full disk, does not come back by trying again.
                consumer.run_batches(|batch| last.keep(batch_to_stdout(batch), true))?;
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
            Failure::Retry => OnFailure::Retry {
                backoff: Backoff::doubling(
                    seconds("--retry-after", self.retry_after)?,
                    Duration::from_secs(3600),
                ),
                max_attempts: self.max_attempts,
            },
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

/// The value of an option that is a number of seconds.
pub(super) fn seconds(option: &str, value: f64) -> Result<Duration, Error> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| Error::Config(format!("{option}: {value} is no number of seconds")))
}

/// What a run has done, for people.
pub(super) fn handled(stats: &Stats) -> String {
    format!("{} in {}", counted(stats.events, "event"), counted(stats.batches, "batch"))
}

/// A line per batch for `-v`, and the count of events on the progress bar.
pub(super) fn count_on(bar: &Progress) -> impl FnMut(&BatchReport) + Send + 'static {
    let bar = bar.clone();
    move |batch| {
        bar.add(batch.events);
        // A line in the middle of the bar would tear it.
        bar.suspend(|| report(batch));
    }
}

/// The count within a batch.
pub(super) fn follow(bar: &Progress) -> impl FnMut(u64) + Send + 'static {
    let bar = bar.clone();
    move |events| bar.in_batch(events)
}

/// About how many events a run until now will see; none when nobody would look at it, or it is not
/// known.
pub(super) fn pending(connector: &Connector, queue: &str, consumer: &str) -> Option<u64> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let row = connector.connect().ok()?.query_typed_one(
        "select (select c.pending_events from pgq.get_consumer_info($1, $2) c)
                + (select q.ev_new from pgq.get_queue_info($1) q)",
        &[(&queue, Type::TEXT), (&consumer, Type::TEXT)],
    );
    u64::try_from(row.ok()?.try_get::<_, Option<i64>>(0).ok()??).ok().filter(|total| *total > 0)
}

fn report(report: &BatchReport) {
    log::info!(
        "{{batch: {}, events: {}, retried: {}, dead: {}, duration: {:.3}, lag: {:.3}}}",
        report.batch.id,
        report.events,
        report.retried,
        report.dead,
        report.duration.as_secs_f64(),
        report.batch.lag().as_secs_f64()
    );
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

fn batch_to_stdout(batch: &mut OpenBatch<'_, '_>) -> Result<(), HandlerError> {
    let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    while let Some(page) = batch.next_page()? {
        for event in &page {
            writeln!(out, "{}", json_of(event))?;
        }
    }
    // Only what has left this process may be acknowledged.
    out.flush()?;
    Ok(())
}

/// The statement that calls a function of this name; the server resolves and quotes it.
pub(super) fn function_call(connector: &Connector, function: &str) -> Result<String, Error> {
    let mut client = connector.connect()?;
    let row = client.query_typed_one(
        "select $1::pg_catalog.regprocedure::oid::pg_catalog.regproc::text",
        &[(&format!("{function}(jsonb)"), Type::TEXT)],
    )?;
    let name: String = row.try_get(0)?;
    Ok(format!("select {name}($1::jsonb)"))
}

pub(super) fn event_to_sql(
    work: &mut Work<'_, '_>,
    event: &Event,
    sql: &str,
) -> Result<Outcome, HandlerError> {
    // The result is not looked at, so it may be of any type.
    let called = work.transaction()?.execute_typed(sql, &[(&json_of(event), Type::TEXT)]);
    match called {
        Ok(_) => Ok(Outcome::Done),
        Err(error) => Err(unusable(&error).map_or_else(|| error.into(), HandlerError::from)),
    }
}

/// The error of a call whose function is gone, or may not be called. What went wrong inside of it
/// has a context.
fn unusable(error: &postgres::Error) -> Option<Error> {
    let error = error.as_db_error().filter(|error| error.where_().is_none())?;
    let error = ServerError::from(error);
    let gone = error.is_denied() || error.sqlstate == "42883";
    gone.then(|| Error::NoCommand { what: error.to_string(), denied: error.is_denied() })
}

/// An event with PgQ's column names.
#[derive(Serialize)]
struct Line<'e> {
    ev_id: i64,
    ev_time: String,
    ev_txid: i64,
    ev_retry: Option<i32>,
    ev_type: Option<&'e str>,
    ev_data: Option<&'e str>,
    ev_extra1: Option<&'e str>,
    ev_extra2: Option<&'e str>,
    ev_extra3: Option<&'e str>,
    ev_extra4: Option<&'e str>,
}

/// An event as one line of JSON.
pub(super) fn json_of(event: &Event) -> String {
    let line = Line {
        ev_id: event.id,
        ev_time: humantime::format_rfc3339_micros(event.time).to_string(),
        ev_txid: event.txid,
        ev_retry: event.retry,
        ev_type: event.ev_type.as_deref(),
        ev_data: event.data.as_deref(),
        ev_extra1: event.extra1.as_deref(),
        ev_extra2: event.extra2.as_deref(),
        ev_extra3: event.extra3.as_deref(),
        ev_extra4: event.extra4.as_deref(),
    };
    // Numbers, strings and nulls have a JSON form.
    super::output::visible_json(serde_json::to_string(&line).unwrap_or_default())
}

/// An event from a row of an event table.
pub(super) fn event_of(row: &Row) -> Result<Event, Error> {
    Ok(Event {
        id: row.try_get("ev_id")?,
        time: row.try_get("ev_time")?,
        txid: row.try_get("ev_txid")?,
        retry: row.try_get("ev_retry")?,
        ev_type: row.try_get("ev_type")?,
        data: row.try_get("ev_data")?,
        extra1: row.try_get("ev_extra1")?,
        extra2: row.try_get("ev_extra2")?,
        extra3: row.try_get("ev_extra3")?,
        extra4: row.try_get("ev_extra4")?,
    })
}
