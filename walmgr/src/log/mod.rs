//! Messages to standard error, where PostgreSQL's log collector picks up what its commands say, or
//! to syslog; output to standard output.
//!
//! Every text passes [`redact`] first: connection strings may carry passwords.

pub(crate) mod settings;
mod syslog;

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use pgq_connect::redact;

use settings::{Log, LogTo};
use syslog::Syslog;

static LEVEL: AtomicU8 = AtomicU8::new(1);
static TARGET: OnceLock<(Syslog, LogTo)> = OnceLock::new();

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
    let _ = writeln!(std::io::stdout().lock(), "{}", redact(&text.to_string()));
}

/// A number of things, in the singular where it is one.
pub(crate) fn count(number: usize, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{ending}")
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut scale = 1;
    while bytes / scale >= 1024 && unit < 5 {
        scale *= 1024;
        unit += 1;
    }
    let name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].get(unit).unwrap_or(&"");
    match (unit, bytes / scale) {
        (0, _) => format!("{bytes} B"),
        (_, whole @ 0..10) => format!("{whole}.{} {name}", bytes % scale * 10 / scale),
        (_, whole) => format!("{whole} {name}"),
    }
}

/// A time, to the second, with its zone.
pub(crate) fn time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Where messages go from now on; said once, when the configuration is known.
pub(crate) fn set_target(log: &Log) {
    if log.to == LogTo::Stderr {
        return;
    }
    let syslog =
        Syslog { socket: log.socket.clone(), facility: log.facility, ident: log.ident.clone() };
    // A second configuration in one process does not happen outside tests.
    let _ = TARGET.set((syslog, log.to));
}

fn write(level: &str, text: &dyn fmt::Display) {
    let text = redact(&text.to_string());
    if let Some((syslog, to)) = TARGET.get()
        && syslog.send(level, &text)
        && *to == LogTo::Syslog
    {
        return;
    }
    // Also when syslog does not take it. One write: lines of concurrent processes must not mix.
    // Nobody is left to tell when standard error is closed.
    let line = format!("walmgr: {level}: {text}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{count, size};

    #[test]
    fn numbers_are_written_for_people() {
        let expected = ["0 B", "1023 B", "1.0 KiB", "9.9 KiB", "26 MiB", "1.5 GiB"];
        let sizes = [0, 1023, 1024, 10_239, 27_645_493, 3 << 29];
        assert_eq!(sizes.map(size), expected);
        assert_eq!([count(1, "backup"), count(0, "backup")], ["1 backup", "0 backups"]);
    }
}
