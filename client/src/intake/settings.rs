//! What all kinds of consumers can be told.

use std::time::Duration;

use crate::cursor::OnProgress;
use crate::stats::Observer;
use crate::stop::Stop;

/// Rows of a page at most; the size of the events may make it fewer.
const PAGE_ROWS: usize = 10_000;

/// What a consumer of any kind can be told.
pub(crate) struct Settings {
    /// SQL over the `ev_*` columns.
    pub(crate) filter: Option<String>,
    pub(crate) dead_letter_queue: Option<String>,
    /// End after so many batches.
    pub(crate) max_batches: Option<u64>,
    /// Rows of a page at most.
    pub(crate) page_rows: usize,
    /// Between looks for a batch, where nobody waits in the server.
    pub(crate) poll_interval: Duration,
    /// Longest wait in the server; zero: none.
    pub(crate) wait_timeout: Duration,
    /// End when what was committed before the run has been handled.
    pub(crate) stop_when_empty: bool,
    pub(crate) stop: Stop,
    pub(crate) observer: Option<Observer>,
    pub(crate) on_progress: Option<OnProgress>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: None,
            dead_letter_queue: None,
            max_batches: None,
            page_rows: PAGE_ROWS,
            poll_interval: Duration::from_secs(1),
            wait_timeout: Duration::from_secs(30),
            stop_when_empty: false,
            stop: Stop::new(),
            observer: None,
            on_progress: None,
        }
    }
}
