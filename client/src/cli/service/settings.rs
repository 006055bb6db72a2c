//! Keys that every service knows.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgq_client::{
    BatchReport, BatchRule, Connector, Consumer, ConsumerBuilder, Error, RemoteConsumer, Stop,
    TickerConfig,
};
use pgq_connect::quote;
use pgq_ini::Section;

use super::Orders;
use crate::cli::logging::Targets;
use crate::cli::skylog;

/// Keys of SkyTools' scripts and consumers without an effect here.
const IGNORED: [&str; 12] = [
    "exception_quiet",
    "exception_grace",
    "exception_reset",
    "log_size",
    "log_count",
    "logfmt_file",
    "logfmt_console",
    "logdatefmt_file",
    "logdatefmt_console",
    "logfmt_file_verbose",
    "logfmt_console_verbose",
    "connection_lifetime",
];

/// What `use_skylog` asks for.
#[derive(Debug)]
struct Skylog {
    targets: Targets,
    /// Also when somebody watches the service on a terminal.
    always: bool,
}

impl Skylog {
    fn read(section: &mut Section<'_>, job: &str) -> Result<Option<Self>, Error> {
        let level: i32 = section.number("use_skylog")?.unwrap_or(0);
        let locations = section.list("skylog_locations")?;
        if level <= 0 {
            return Ok(None);
        }
        let targets = skylog::targets(&locations, job, section.name())?;
        Ok(Some(Self { targets, always: level > 1 }))
    }
}

/// The common settings of a job.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) job_name: String,
    pub(super) service: String,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) logfile: Option<PathBuf>,
    skylog: Option<Skylog>,
    pub(super) exception_sleep: Duration,
    pub(super) queue: String,
    consumer: String,
    loop_delay: Duration,
    wait_timeout: Duration,
    filter: Option<String>,
    rule: BatchRule,
    page_rows: Option<usize>,
    keepalive: Duration,
    member: Option<(String, Option<Duration>)>,
    position_file: Option<PathBuf>,
}

impl Settings {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        // For whoever starts jobs, by hand or not: a mistake in it is one everywhere.
        section.boolean("disabled")?;
        let mut either = |key: &str, alias: &str| -> Result<Option<String>, Error> {
            Ok(section.take(key)?.or(section.take(alias)?))
        };
        let queue = either("queue_name", "pgq_queue_name")?;
        let consumer = either("consumer_name", "pgq_consumer_id")?;
        let queue = match queue {
            Some(queue) => queue,
            None => section.require("queue_name")?,
        };
        let job_name = section.require("job_name")?;
        for key in IGNORED.iter().chain(&["pgq_autocommit"]) {
            section.ignore(key);
        }
        let rule = BatchRule {
            min_lag: interval(section, "pgq_keep_lag")?,
            min_count: section.number("pgq_batch_collect_events")?.filter(|count| *count > 0),
            min_interval: interval(section, "pgq_batch_collect_interval")?,
        };
        Ok(Self {
            consumer: consumer.unwrap_or_else(|| job_name.clone()),
            service: section.name().to_owned(),
            pidfile: section.file("pidfile")?,
            logfile: section.file("logfile")?,
            skylog: Skylog::read(section, &job_name)?,
            exception_sleep: section.seconds("exception_sleep")?.unwrap_or(Duration::from_secs(20)),
            queue,
            loop_delay: section.seconds("loop_delay")?.unwrap_or(Duration::from_secs(1)),
            wait_timeout: interval(section, "wait_timeout")?.unwrap_or(Duration::from_secs(30)),
            filter: filter(section)?,
            rule,
            page_rows: section.number("pgq_lazy_fetch")?.filter(|rows| *rows > 0),
            keepalive: section.seconds("keepalive_stats")?.unwrap_or(Duration::from_secs(300)),
            member: None,
            position_file: None,
            job_name,
        })
    }

    /// Be a member of a group, where a section says so.
    pub(super) fn read_member(&mut self, section: &mut Section<'_>) -> Result<(), Error> {
        let name = section.take("subconsumer_name")?;
        let takeover = interval(section, "subconsumer_timeout")?;
        self.member = name.map(|name| (name, takeover));
        Ok(())
    }

    /// Keep the position in a file, where a section says so.
    pub(super) fn read_position(&mut self, section: &mut Section<'_>) -> Result<(), Error> {
        self.position_file = section.file("local_tracking_file")?;
        Ok(())
    }

    pub(super) fn of_ticker(
        section: &mut Section<'_>,
        config: &TickerConfig,
    ) -> Result<Self, Error> {
        Ok(Self {
            job_name: section.require("job_name")?,
            service: section.name().to_owned(),
            pidfile: config.pidfile.clone(),
            logfile: config.logfile.clone(),
            skylog: None,
            exception_sleep: Duration::from_secs(20),
            queue: String::new(),
            consumer: String::new(),
            loop_delay: Duration::ZERO,
            wait_timeout: Duration::ZERO,
            filter: None,
            rule: BatchRule::default(),
            page_rows: None,
            keepalive: Duration::ZERO,
            member: None,
            position_file: None,
        })
    }

    /// The log file, and what `use_skylog` adds.
    pub(super) fn log_targets(&self, on_terminal: bool) -> Targets {
        let mut targets = match &self.skylog {
            Some(skylog) if skylog.always || !on_terminal => skylog.targets.clone(),
            _ => Targets::default(),
        };
        targets.files.extend(self.logfile.clone());
        targets
    }

    /// A builder with these settings. `loop_delay = 0` ends the service when there is nothing to
    /// do.
    pub(super) fn consumer(&self, stop: &Stop) -> ConsumerBuilder {
        let mut builder = Consumer::builder(&self.queue, &self.consumer)
            .stop(stop.clone())
            .batch_rule(self.rule)
            .wait_timeout(self.wait_timeout)
            .poll_interval(self.loop_delay)
            .stop_when_empty(self.loop_delay.is_zero())
            .observe(stats_line(self.keepalive));
        if let Some(filter) = &self.filter {
            builder = builder.filter(filter);
        }
        if let Some(rows) = self.page_rows {
            builder = builder.page_rows(rows);
        }
        if let Some(path) = &self.position_file {
            builder = builder.position_file(path);
        }
        if let Some((member, takeover)) = &self.member {
            builder = builder.cooperative(member, *takeover);
        }
        builder
    }

    pub(super) fn connect_remote(
        &self,
        source: &str,
        target: &str,
        dead: Option<&str>,
        stop: &Stop,
    ) -> Result<RemoteConsumer, Error> {
        let mut builder = RemoteConsumer::builder(&self.queue, &self.consumer)
            .stop(stop.clone())
            .batch_rule(self.rule)
            .wait_timeout(self.wait_timeout)
            .poll_interval(self.loop_delay)
            .stop_when_empty(self.loop_delay.is_zero())
            .observe(stats_line(self.keepalive));
        if let Some(filter) = &self.filter {
            builder = builder.filter(filter);
        }
        if let Some(rows) = self.page_rows {
            builder = builder.page_rows(rows);
        }
        if let Some(queue) = dead {
            builder = builder.dead_letter_queue(queue);
        }
        builder.connect(Connector::new(source)?, Connector::new(target)?)
    }

    pub(super) fn obey_plain(&self, orders: Orders, database: &str) -> Result<String, Error> {
        let mut consumer = self.consumer(&Stop::new()).connect(database)?;
        if orders.rewind {
            let tick = consumer.rewind()?;
            return Ok(format!("consumer \"{}\" went back to tick {tick}", self.consumer));
        }
        if orders.reset {
            consumer.reset()?;
            return Ok(format!("the file has the position of consumer \"{}\"", self.consumer));
        }
        Ok(if orders.register {
            self.said(consumer.register()?, "registered", "was registered already")
        } else {
            self.said(consumer.unregister()?, "unregistered", "was not registered")
        })
    }

    pub(super) fn obey_remote(
        &self,
        orders: Orders,
        mut consumer: RemoteConsumer,
    ) -> Result<String, Error> {
        if orders.register {
            return Ok(self.said(consumer.register()?, "registered", "was registered already"));
        }
        if orders.unregister {
            return Ok(self.said(consumer.unregister()?, "unregistered", "was not registered"));
        }
        if orders.rewind {
            let tick = consumer.rewind()?;
            return Ok(format!("consumer \"{}\" went back to tick {tick}", self.consumer));
        }
        consumer.reset()?;
        Ok(format!("the target forgot the position of consumer \"{}\"", self.consumer))
    }

    fn said(&self, did: bool, yes: &str, no: &str) -> String {
        let what = if did { yes } else { no };
        format!("consumer \"{}\" {what} on queue \"{}\"", self.consumer, self.queue)
    }
}

/// The line per batch that SkyTools' consumers write. Empty batches are counted, and said once in a
/// while: nothing but them means that the consumer lives.
fn stats_line(keepalive: Duration) -> impl FnMut(&BatchReport) + Send + 'static {
    let mut idle_since = Instant::now();
    let mut last_line = Instant::now();
    move |report| {
        let waited = idle_since.elapsed().saturating_sub(report.duration);
        if report.events > 0 {
            idle_since = Instant::now();
        } else if last_line.elapsed() < keepalive {
            return;
        }
        last_line = Instant::now();
        log::info!(
            "{{count: {}, duration: {:.3}, idle: {:.3}}}",
            report.events,
            report.duration.as_secs_f64(),
            waited.as_secs_f64()
        );
    }
}

/// A number of seconds, or a number with a unit.
fn interval(section: &mut Section<'_>, key: &str) -> Result<Option<Duration>, Error> {
    let Some(text) = section.take(key)? else { return Ok(None) };
    let duration = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(&text).ok(),
    };
    match duration {
        Some(duration) => Ok(Some(duration)),
        None => Err(section.wrong(key, format!("\"{text}\" is not an interval")).into()),
    }
}

/// `table_filter` is a list of tables, `consumer_filter` raw SQL.
fn filter(section: &mut Section<'_>) -> Result<Option<String>, Error> {
    let tables: Vec<_> = section
        .list("table_filter")?
        .iter()
        .map(|table| if table.contains('.') { table.clone() } else { format!("public.{table}") })
        .map(|table| quote::literal(&table))
        .collect();
    let by_table = (!tables.is_empty()).then(|| format!("ev_extra1 in ({})", tables.join(", ")));
    let raw = section.take("consumer_filter")?;
    Ok(match (by_table, raw) {
        (Some(by_table), Some(raw)) => Some(format!("{by_table} and ({raw})")),
        (by_table, raw) => by_table.or(raw),
    })
}
