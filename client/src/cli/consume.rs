//! `pgq consume`: print events, feed them to a program, or to an SQL function.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::ProgressBar;
use pgq_client::{
    Backoff, BatchReport, Connector, Consumer, ConsumerBuilder, Error, Event, HandlerError,
    OnFailure, OpenBatch, Outcome, Stop, Work,
};
use postgres::Row;
use postgres::types::Type;
use serde::Serialize;

use super::output::progress;
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
    /// Stop when there is nothing more
    #[arg(long)]
    once: bool,
    /// Run this shell command for each event, the event as JSON on its standard input; exit code 0 is done, 75 retry, others are
    /// failures
    #[arg(long, value_name = "COMMAND", conflicts_with = "sql")]
    exec: Option<String>,
    /// Run the command once per batch instead, all its events as JSON lines on its standard input; a failure repeats the batch
    #[arg(long, requires = "exec")]
    per_batch: bool,
    /// Call this SQL function with each event as jsonb, in the transaction that finishes the batch: exactly once
    #[arg(long, value_name = "FUNCTION")]
    sql: Option<String>,
    /// What follows a failure of a single event
    #[arg(long, value_enum, default_value_t = Failure::Retry)]
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
    /// Seconds between looks for a batch, on servers without pgq.wait_batch
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
        let bar = self.progress();
        let mut consumer = self.builder(&stop, &bar)?.connect_to(global.connector()?)?;
        if self.register {
            consumer.register()?;
        }
        let mut last = LastFailure { stop: &stop, failure: None };
        match (&self.exec, &self.sql) {
            (Some(command), _) if self.per_batch => {
                consumer.run_batches(|batch| batch_to_command(batch, command))?;
            }
            (Some(command), _) => {
                let stops = self.on_failure == Failure::Stop;
                consumer.run(|_, event| last.keep(event_to_command(event, command), stops))?;
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
        bar.finish_and_clear();
        match last.failure {
            Some(failure) => Err(Error::Handler { event_id: None, source: failure }.into()),
            None => Ok(Exit::Ok),
        }
    }

    /// Standard output to a terminal shows the events themselves.
    fn progress(&self) -> ProgressBar {
        match self.exec.is_some() || self.sql.is_some() {
            true => progress(None, "consumed"),
            false => ProgressBar::hidden(),
        }
    }

    fn builder(&self, stop: &Stop, bar: &ProgressBar) -> Result<ConsumerBuilder, Error> {
        let seconds = |option: &str, value: f64| {
            Duration::try_from_secs_f64(value)
                .map_err(|_| Error::Config(format!("{option} must not be negative")))
        };
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
            .poll_interval(seconds("--poll", self.poll)?)
            .on_failure(on_failure)
            .observe(count_on(bar));
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

/// A line per batch for `-v`, and the count of events on the progress bar.
pub(super) fn count_on(bar: &ProgressBar) -> impl FnMut(&BatchReport) + Send + 'static {
    let bar = bar.clone();
    move |batch| {
        bar.inc(batch.events);
        // A line in the middle of the bar would tear it.
        bar.suspend(|| report(batch));
    }
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

fn start(command: &str) -> Result<Child, HandlerError> {
    let child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run a shell: {error}"))?;
    Ok(child)
}

/// Exit code that asks for a retry: EX_TEMPFAIL of sysexits.h.
const TEMPORARY_FAILURE: i32 = 75;

fn end(child: Child, command: &str) -> Result<i32, HandlerError> {
    let output = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.success() || output.status.code() == Some(TEMPORARY_FAILURE) {
        if !words.is_empty() {
            log::info!("{command}: {}", words.trim_end());
        }
        return Ok(output.status.code().unwrap_or(0));
    }
    let from = words.len().saturating_sub(500);
    let from = (from..words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(words.len());
    Err(format!("{command}: {}: {}", output.status, words[from..].trim()).into())
}

pub(super) fn event_to_command(event: &Event, command: &str) -> Result<Outcome, HandlerError> {
    let mut child = start(command)?;
    if let Some(mut input) = child.stdin.take() {
        // A command that does not read its input is judged by its exit code all the same.
        ignore_closed_pipe(writeln!(input, "{}", json_of(event)))?;
    }
    match end(child, command)? {
        TEMPORARY_FAILURE => Err(format!("{command}: asked for a retry").into()),
        _ => Ok(Outcome::Done),
    }
}

pub(super) fn batch_to_command(
    batch: &mut OpenBatch<'_, '_>,
    command: &str,
) -> Result<(), HandlerError> {
    let mut child = start(command)?;
    // Its messages are read beside, or it would block on a full pipe while we block on its input.
    let words = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stderr, &mut text).map(|_| text)
        })
    });
    if let Some(input) = child.stdin.take() {
        let mut input = std::io::BufWriter::with_capacity(1 << 16, input);
        while let Some(page) = batch.next_page()? {
            for event in &page {
                ignore_closed_pipe(writeln!(input, "{}", json_of(event)))?;
            }
        }
        ignore_closed_pipe(input.flush())?;
    }
    let status = child.wait()?;
    let words = words.and_then(|thread| thread.join().ok()).and_then(Result::ok);
    if status.success() {
        return Ok(());
    }
    Err(format!("{command}: {status}: {}", words.unwrap_or_default().trim()).into())
}

fn ignore_closed_pipe(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
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
    work.transaction()?.execute_typed(sql, &[(&json_of(event), Type::TEXT)])?;
    Ok(Outcome::Done)
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
