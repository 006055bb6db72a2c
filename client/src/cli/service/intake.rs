//! Keys about the queue, and how events are taken from it.

use std::time::{Duration, Instant};

use pgq_client::{BatchReport, BatchRule, Builder, Error, Stop};
use pgq_connect::quote;
use pgq_ini::Section;

/// What every consumer is told.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) queue: String,
    pub(super) consumer: String,
    loop_delay: Duration,
    wait_timeout: Duration,
    filter: Option<String>,
    rule: BatchRule,
    page_rows: Option<usize>,
    keepalive: Duration,
}

impl Intake {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        section.ignore("pgq_autocommit");
        let (name, old) = (section.take("queue_name")?, section.take("pgq_queue_name")?);
        let queue = match name.or(old) {
            Some(queue) => queue,
            None => section.require("queue_name")?,
        };
        let (name, old) = (section.take("consumer_name")?, section.take("pgq_consumer_id")?);
        let consumer = match name.or(old) {
            Some(consumer) => consumer,
            None => section.require("job_name")?,
        };
        let rule = BatchRule {
            min_lag: interval(section, "pgq_keep_lag")?,
            min_count: section.number("pgq_batch_collect_events")?.filter(|count| *count > 0),
            min_interval: interval(section, "pgq_batch_collect_interval")?,
        };
        Ok(Self {
            queue,
            consumer,
            loop_delay: section.seconds("loop_delay")?.unwrap_or(Duration::from_secs(1)),
            wait_timeout: interval(section, "wait_timeout")?.unwrap_or(Duration::from_secs(30)),
            filter: filter(section)?,
            rule,
            page_rows: section.number("pgq_lazy_fetch")?.filter(|rows| *rows > 0),
            keepalive: section.seconds("keepalive_stats")?.unwrap_or(Duration::from_secs(300)),
        })
    }

    /// The builder, told so. `loop_delay = 0` ends the service when there is nothing to do.
    pub(super) fn tell<K>(&self, builder: Builder<K>, stop: &Stop) -> Builder<K> {
        let mut builder = builder
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
        builder
    }

    /// What became of an order to register or unregister.
    pub(super) fn said(&self, did: bool, yes: &str, no: &str) -> String {
        let what = if did { yes } else { no };
        format!("consumer \"{}\" {what} on queue \"{}\"", self.consumer, self.queue)
    }

    /// What became of an order to go back.
    pub(super) fn went_back(&self, tick: i64) -> String {
        format!("consumer \"{}\" went back to tick {tick}", self.consumer)
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
pub(super) fn interval(section: &mut Section<'_>, key: &str) -> Result<Option<Duration>, Error> {
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
