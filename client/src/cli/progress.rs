//! How far a run has come: on a terminal while it goes on, and in words at its end.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use pgq_client::{BatchReport, Connector, Stats};
use postgres::types::Type;

use super::output::counted;

/// A line that counts, when standard error is a terminal.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    /// Events of batches that are done.
    done: Arc<AtomicU64>,
}

impl Progress {
    /// Not shown, whatever standard error is.
    pub(super) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), done: Arc::default() }
    }

    /// Counts to `total`, if that is known.
    pub(super) fn new(total: Option<u64>, what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let (bar, template) = match total {
            Some(total) => {
                (ProgressBar::new(total), "{msg} {wide_bar} {human_pos}/{human_len} {rate} {eta}")
            }
            None => (ProgressBar::no_length(), "{msg} {human_pos} {rate} {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_message(what.to_owned());
        // Also when nothing comes, it is seen that it lives. A thread draws from here on, so the
        // line is complete before.
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, done: Arc::default() }
    }

    /// So many more are done.
    pub(super) fn add(&self, events: u64) {
        let done = self.done.fetch_add(events, Ordering::Relaxed) + events;
        self.bar.set_position(done);
    }

    /// So many of the batch at hand are read; they count when it is done.
    pub(super) fn in_batch(&self, events: u64) {
        self.bar.set_position(self.done.load(Ordering::Relaxed) + events);
    }

    /// Say something that is not torn by the line.
    pub(super) fn suspend(&self, say: impl FnOnce()) {
        self.bar.suspend(say);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is a positive number far below 2^63, and its fraction is left out"
)]
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
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
                operator(pg_catalog.+) (select q.ev_new from pgq.get_queue_info($1) q)",
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
