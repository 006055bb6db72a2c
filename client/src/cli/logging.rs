//! Where log lines go: standard error, files that are opened again on reload, syslog, log servers.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::UdpSocket;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use pgq_client::{Error, redact};
use pgq_syslog::{Address, Facility, Syslog};
use rustix::fs::OFlags;
use rustix::io::Errno;
use serde_json::json;

use super::output::visible;

/// Where a service logs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) stderr: bool,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) syslog: Vec<SyslogTarget>,
    pub(crate) udp: Vec<UdpTarget>,
}

impl Targets {
    /// Log there as well.
    pub(crate) fn add(&mut self, more: Self) {
        self.stderr |= more.stderr;
        self.files.extend(more.files);
        self.syslog.extend(more.syslog);
        self.udp.extend(more.udp);
    }
}

/// A syslog, with our name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyslogTarget {
    pub(crate) ident: String,
    pub(crate) facility: Facility,
    pub(crate) address: Address,
}

/// A server that takes each line as a JSON datagram, as SkyTools' UdpLogServerHandler sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpTarget {
    /// `host:port`.
    pub(crate) server: String,
    pub(crate) job: String,
    pub(crate) service: String,
}

/// The sinks of this process.
#[derive(Default)]
struct Sinks {
    stderr: bool,
    /// A service's lines have time, pid and level; a command's only what is said.
    full_lines: bool,
    files: Vec<File>,
    syslog: Vec<Syslog>,
    udp: Vec<(UdpSocket, UdpTarget)>,
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
        // One line a message, whatever an event, a name or a server put into it.
        let text = redact(&record.args().to_string());
        let text = visible(&text).into_owned();
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
        for file in &mut sinks.files {
            let _ = writeln!(file, "{full}");
        }
        for (socket, target) in &sinks.udp {
            let _ = socket.send(datagram(target, socket, record.level(), &text).as_bytes());
        }
        // What is for who watches the service is not for syslog.
        for syslog in sinks.syslog.iter().filter(|_| record.level() <= Level::Info) {
            syslog.send(record.level(), &text);
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

/// Log as a service does: to a file, to syslog, to standard error with time and level. Also opens
/// files again, after they were renamed.
///
/// # Errors
/// [`Error::Io`] when a file cannot be opened.
pub(crate) fn as_service(targets: &Targets, verbose: u8, quiet: bool) -> Result<(), Error> {
    let sinks = Sinks::open(targets)?;
    *logger().0.lock().unwrap_or_else(PoisonError::into_inner) = sinks;
    log::set_max_level(match (quiet, verbose) {
        (true, _) => LevelFilter::Warn,
        (false, 0) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    });
    Ok(())
}

impl Sinks {
    /// Those of a service.
    fn open(targets: &Targets) -> Result<Self, Error> {
        let mut sinks = Self { stderr: targets.stderr, full_lines: true, ..Self::default() };
        for path in &targets.files {
            sinks.files.push(open_file(path)?);
        }
        // A machine without syslog, or a log server that is away, is no reason not to run; nor is
        // one that does not read a reason to wait.
        for SyslogTarget { ident, facility, address } in &targets.syslog {
            match Syslog::new(address, *facility, ident) {
                Ok(syslog) => {
                    if !syslog.is_heard() {
                        log::warn!("syslog: nobody listens");
                    }
                    sinks.syslog.push(syslog);
                }
                Err(error) => log::warn!("syslog: {error}"),
            }
        }
        for target in &targets.udp {
            match pgq_syslog::connect(&target.server) {
                Ok(socket) => sinks.udp.push((socket, target.clone())),
                Err(error) => log::warn!("log server {}: {error}", target.server),
            }
        }
        Ok(sinks)
    }
}

/// Standard output and error as files; links by nature.
const STREAMS: [&str; 4] = ["/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/"];

/// A log file, for us and our group. Who may write to its directory must not make us append to a
/// file of ours or of root's: links are not followed.
fn open_file(path: &Path) -> Result<File, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    if STREAMS
        .iter()
        .any(|stream| path.as_os_str().as_encoded_bytes().starts_with(stream.as_bytes()))
    {
        return options.open(path).map_err(io);
    }
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed());
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(Error::Config(format!(
                "{}: is a symbolic link; a log is not written through one",
                path.display()
            )));
        }
        other => other.map_err(io)?,
    };
    if file.metadata().map_err(io)?.nlink() > 1 {
        return Err(Error::Config(format!(
            "{}: the file has another name elsewhere; a log is not written into it",
            path.display()
        )));
    }
    Ok(file)
}

/// Longest message in a datagram.
const MAX_DATAGRAM: usize = 1024;

fn datagram(target: &UdpTarget, socket: &UdpSocket, level: Level, text: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let message: String = text.chars().take(MAX_DATAGRAM).collect();
    json!({
        "logger": target.job,
        "timestamp": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        "level": level.as_str(),
        "message": message,
        "properties": {
            "application": target.service,
            "apptype": target.job,
            "type": "sys",
            "hostname": rustix::system::uname().nodename().to_string_lossy(),
            "hostaddr": socket.local_addr().map(|address| address.ip().to_string()).unwrap_or_default(),
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use log::{Level, Log, Record};

    use super::{Logger, Sinks, Targets, UdpTarget, open_file, short};

    #[test]
    fn a_command_names_itself() {
        assert_eq!(short(Level::Warn, "x"), "pgq: warning: x");
        assert_eq!(short(Level::Info, "x"), "pgq: x");
    }

    #[test]
    fn a_log_server_is_reached_by_either_family() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(server) = std::net::UdpSocket::bind(bind) else { continue };
            server.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            let target = UdpTarget {
                server: server.local_addr().unwrap().to_string(),
                job: "j".to_owned(),
                service: "s".to_owned(),
            };
            let sinks = Sinks::open(&Targets { udp: vec![target], ..Targets::default() }).unwrap();
            let record = Record::builder().level(Level::Info).target("pgq").build();
            Logger(Mutex::new(sinks)).log(&record);
            let mut bytes = [0; 2000];
            let length = server.recv(&mut bytes).unwrap();
            let line: serde_json::Value = serde_json::from_slice(&bytes[..length]).unwrap();
            let own = server.local_addr().unwrap().ip().to_string();
            assert_eq!(line["properties"]["hostaddr"], own);
        }
    }

    #[test]
    fn logs_are_written_through_no_link_and_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (log, victim) = (dir.path().join("log"), dir.path().join("victim"));
        open_file(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o027, 0);
        std::fs::write(&victim, "precious").unwrap();
        for link in [std::os::unix::fs::symlink::<_, _>, std::fs::hard_link] {
            std::fs::remove_file(&log).unwrap();
            link(&victim, &log).unwrap();
            assert!(open_file(&log).is_err());
        }
        open_file(std::path::Path::new("/dev/stderr")).unwrap();
        open_file(std::path::Path::new("/dev/null")).unwrap();
    }
}
