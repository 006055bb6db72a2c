//! The same by somebody who takes 75 seconds to read on. A run of the whole suite begins these
//! early, and asks for the result late (module `with_pauses`), so that they make it no longer.

use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{first_steps, quick_start};

/// Longer than any period at default settings, and than the time in which idle ticks get rare.
const PAUSE: Duration = Duration::from_secs(75);

static RUNS: Mutex<Vec<(&str, JoinHandle<()>)>> = Mutex::new(Vec::new());

/// Begin, if all tests are asked for.
pub(super) fn begin_with_the_suite() {
    if std::env::args().skip(1).all(|argument| argument.starts_with('-')) {
        begin();
    }
}

fn begin() {
    let mut runs = RUNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if runs.is_empty() {
        runs.push(("README", thread::spawn(|| quick_start(PAUSE))));
        runs.push(("docs/client.md", thread::spawn(|| first_steps(PAUSE))));
    }
}

/// Wait for their ends. A failed one fails here.
pub(crate) fn finish() {
    begin();
    let runs = std::mem::take(&mut *RUNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    for (document, run) in runs {
        if let Err(panic) = run.join() {
            let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("{document} does not work with pauses: {reason}");
        }
    }
}
