//! A progress line for people: on a terminal only, nothing in logs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::size::wide;

/// Bytes done of bytes to do.
pub(crate) struct Progress {
    done: AtomicU64,
    total: u64,
    finished: AtomicBool,
}

impl Progress {
    /// Progress towards a total.
    pub(crate) fn new(total: u64) -> Self {
        Self { done: AtomicU64::new(0), total, finished: AtomicBool::new(false) }
    }

    /// More bytes are done.
    pub(crate) fn add(&self, bytes: usize) {
        self.done.fetch_add(wide(bytes), Ordering::Relaxed);
    }

    /// Make [`Progress::show`] return.
    pub(crate) fn finish(&self) {
        self.finished.store(true, Ordering::Relaxed);
    }

    /// Draw until [`Progress::finish`]; returns at once when standard error is no terminal.
    pub(crate) fn show(&self, what: &str) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let start = Instant::now();
        while !self.finished.load(Ordering::Relaxed) {
            self.draw(what, start.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
        // A terminal that is gone needs no erasing.
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }

    fn draw(&self, what: &str, elapsed: Duration) {
        let done = self.done.load(Ordering::Relaxed);
        let percent = (done * 100).checked_div(self.total).unwrap_or(100);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = done / 1024 * 1000 / millis / 1024;
        let line = format!("\r\x1b[K{what}: {percent} % of {} MiB, {rate} MiB/s", self.total >> 20);
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
