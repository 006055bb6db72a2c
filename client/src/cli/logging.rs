//! Where log lines go: standard error, a file that is opened again on reload, syslog.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use pgq_client::{Error, redact};

type Syslog = syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>;

/// The sinks of this process.
#[derive(Default)]
struct Sinks {
    stderr: bool,
    /// A service's lines have time, pid and level; a command's only what is said.
    full_lines: bool,
    file: Option<(PathBuf, File)>,
    syslog: Option<Syslog>,
}

struct Logger(Mutex<Sinks>);

static LOGGER: OnceLock<Logger> = OnceLock::new();

fn logger() -> &'static Logger {
    LOGGER.get_or_init(|| Logger(Mutex::new(Sinks::default())))
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The driver logs its own errors, which we report ourselves.
        metadata.target().starts_with("pgq")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut sinks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = redact(&record.args().to_string());
        let level = match record.level() {
            Level::Warn => "WARNING",
            level => level.as_str(),
        };
        let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let full = format!("{} {} {level} {text}", now.replace('T', " "), std::process::id());
        if sinks.stderr {
            let line = if sinks.full_lines { full.clone() } else { short(record.level(), &text) };
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
        if let Some((_, file)) = &mut sinks.file {
            let _ = writeln!(file, "{full}");
        }
        if let Some(syslog) = &mut sinks.syslog {
            let _ = match record.level() {
                Level::Error => syslog.err(&text),
                Level::Warn => syslog.warning(&text),
                Level::Info => syslog.info(&text),
                Level::Debug | Level::Trace => Ok(()),
            };
        }
    }

    fn flush(&self) {}
}

fn short(level: Level, text: &str) -> String {
    match level {
        Level::Error => format!("pgq: error: {text}"),
        Level::Warn => format!("pgq: warning: {text}"),
        _ => format!("pgq: {text}"),
    }
}

/// Log to standard error as a command does.
pub(crate) fn to_stderr(verbose: u8, quiet: bool) {
    logger().0.lock().unwrap_or_else(PoisonError::into_inner).stderr = true;
    // A second call is a test's; the first logger stays.
    let _ = log::set_logger(logger());
    log::set_max_level(match (quiet, verbose) {
        (true, _) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    });
}

/// Log as a service does: to a file, to syslog, to standard error with time and level. Also opens the file again, after it
/// was renamed.
///
/// # Errors
/// [`Error::Io`] when the file or syslog cannot be opened.
pub(crate) fn as_service(
    file: Option<&Path>,
    syslog_ident: Option<&str>,
    stderr: bool,
    verbose: u8,
    quiet: bool,
) -> Result<(), Error> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let file = match file {
        Some(path) => {
            let opened =
                OpenOptions::new().append(true).create(true).open(path).map_err(io(path))?;
            Some((path.to_owned(), opened))
        }
        None => None,
    };
    let syslog = syslog_ident.and_then(|ident| {
        let formatter = syslog::Formatter3164 {
            facility: syslog::Facility::LOG_DAEMON,
            hostname: None,
            process: ident.to_owned(),
            pid: std::process::id(),
        };
        // A machine without syslog is no reason not to run.
        syslog::unix(formatter).map_err(|error| log::warn!("syslog: {error}")).ok()
    });
    {
        let mut sinks = logger().0.lock().unwrap_or_else(PoisonError::into_inner);
        *sinks = Sinks { stderr, full_lines: true, file, syslog };
    }
    log::set_max_level(match (quiet, verbose) {
        (true, _) => LevelFilter::Warn,
        (false, 0) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::short;

    #[test]
    fn a_command_names_itself() {
        assert_eq!(short(Level::Warn, "x"), "pgq: warning: x");
        assert_eq!(short(Level::Info, "x"), "pgq: x");
    }
}
