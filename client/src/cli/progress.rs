//! Progress on a terminal.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

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
        // Also when nothing comes, it is seen that it lives.
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar: bar.with_message(what.to_owned()), done: Arc::default() }
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
