//! Messages to standard error, where PostgreSQL's log collector picks up what its commands say, and output to standard output.
//!
//! Every text passes [`redact`] first: connection strings may carry passwords.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::redact::redact;

static LEVEL: AtomicU8 = AtomicU8::new(1);

/// How much is said: 0 errors and warnings, 1 also notices, 2 also details.
pub(crate) fn set_level(level: u8) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// A failure.
pub(crate) fn error(text: impl fmt::Display) {
    write("ERROR", &text);
}

/// Something the operator should look at.
pub(crate) fn warning(text: impl fmt::Display) {
    write("WARNING", &text);
}

/// Progress of an operator's command.
pub(crate) fn notice(text: impl fmt::Display) {
    if LEVEL.load(Ordering::Relaxed) >= 1 {
        write("LOG", &text);
    }
}

/// Details for `--verbose`.
pub(crate) fn debug(text: impl fmt::Display) {
    if LEVEL.load(Ordering::Relaxed) >= 2 {
        write("DEBUG", &text);
    }
}

/// A line of a command's result.
pub(crate) fn print(text: impl fmt::Display) {
    // A closed pipe (`walmgr listbackups | head`) is the reader's choice, not a failure.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn write(level: &str, text: &dyn fmt::Display) {
    let line = format!("walmgr: {level}: {}\n", redact(&text.to_string()));
    // One write: lines of concurrent processes must not mix. Nobody is left to tell when standard error is closed.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
