//! Messages to standard error, where PostgreSQL's log collector picks up what its commands say, or
//! to syslog; output to standard output.
//!
//! What walmgr says, and the crates that it shares with `pgq`, goes through the facade of crate
//! `log`. Every text passes [`redact`] first: connection strings may carry passwords.

pub(crate) mod settings;

use std::fmt;
use std::io::Write;
use std::sync::{Once, OnceLock};

use ::log::{Level, LevelFilter, Metadata, Record};
use pgq_connect::redact;
use pgq_syslog::{Address, Syslog};

use settings::{Log, LogTo};

static TARGET: OnceLock<(Syslog, LogTo)> = OnceLock::new();

/// How much is said: 0 errors and warnings, 1 also notices, 2 also details.
pub(crate) fn set_level(level: u8) {
    install();
    ::log::set_max_level(match level {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    });
}

/// A failure.
pub(crate) fn error(text: impl fmt::Display) {
    say(Level::Error, &text);
}

/// Something the operator should look at.
pub(crate) fn warning(text: impl fmt::Display) {
    say(Level::Warn, &text);
}

/// Progress of an operator's command.
pub(crate) fn notice(text: impl fmt::Display) {
    say(Level::Info, &text);
}

/// Details for `--verbose`.
pub(crate) fn debug(text: impl fmt::Display) {
    say(Level::Debug, &text);
}

fn say(level: Level, text: &dyn fmt::Display) {
    install();
    ::log::log!(level, "{text}");
}

/// Have the facade's messages come here.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // A program has one logger; nobody else sets one here.
        let _ = ::log::set_logger(&Logger);
        ::log::set_max_level(LevelFilter::Info);
    });
}

/// The only logger.
struct Logger;

impl ::log::Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Crates of others log what their callers say better.
        let target = metadata.target();
        target.starts_with("walmgr") || target.starts_with("pgq")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            write(record.level(), record.args());
        }
    }

    fn flush(&self) {}
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
    let address = Address::Socket(log.socket.clone());
    match Syslog::new(&address, log.facility, &log.ident) {
        // A second configuration in one process does not happen outside tests.
        Ok(syslog) => drop(TARGET.set((syslog, log.to))),
        Err(error) => warning(format_args!("syslog: {error}")),
    }
}

fn write(level: Level, text: &dyn fmt::Display) {
    // As PostgreSQL calls them.
    let name = match level {
        Level::Error => "ERROR",
        Level::Warn => "WARNING",
        Level::Info => "LOG",
        Level::Debug | Level::Trace => "DEBUG",
    };
    let text = redact(&text.to_string());
    if let Some((syslog, to)) = TARGET.get()
        && syslog.send(level, &format!("{name}: {text}"))
        && *to == LogTo::Syslog
    {
        return;
    }
    // Also when syslog does not take it. One write: lines of concurrent processes must not mix.
    // Nobody is left to tell when standard error is closed.
    let line = format!("walmgr: {name}: {text}\n");
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
