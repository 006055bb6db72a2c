//! Datagrams to the daemon.

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use log::Level;

use crate::facility::Facility;

/// Where a syslog daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// On this machine, wherever its socket is.
    Here,
    /// At a socket in the file system.
    Socket(PathBuf),
    /// At `host:port`, by UDP.
    Host(String),
}

/// A syslog daemon, and what messages to it look like.
#[derive(Debug)]
pub struct Syslog {
    way: Way,
    facility: Facility,
    ident: String,
}

#[derive(Debug)]
enum Way {
    /// The first of these sockets that somebody listens at.
    Sockets(Vec<PathBuf>),
    Net(UdpSocket),
}

/// Longest text of a message, in bytes. More than a socket takes would be lost whole; daemons take
/// this much unless told otherwise (rsyslog's maxMessageSize).
const MAX_TEXT: usize = 8000;

/// Longest name of a program.
const MAX_IDENT: usize = 100;

/// Where machines have their sockets.
const SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

impl Syslog {
    /// Messages from a program of this name. Only a host's name is looked up here, and never again;
    /// whether somebody listens is not asked.
    ///
    /// # Errors
    /// When the host has no address.
    pub fn new(address: &Address, facility: Facility, ident: &str) -> io::Result<Self> {
        let way = match address {
            Address::Here => Way::Sockets(SOCKETS.map(PathBuf::from).to_vec()),
            Address::Socket(path) => Way::Sockets(vec![path.clone()]),
            Address::Host(host) => Way::Net(connect(host)?),
        };
        Ok(Self { way, facility, ident: one_line(cut(ident, MAX_IDENT)) })
    }

    /// True when somebody listens on this machine, as far as one can tell. What is sent to a host
    /// is never answered.
    pub fn is_heard(&self) -> bool {
        let hears = |path: &PathBuf| UnixDatagram::unbound()?.connect(path);
        match &self.way {
            Way::Sockets(paths) => paths.iter().any(|path| hears(path).is_ok()),
            Way::Net(_) => true,
        }
    }

    /// Send a message; false when nobody takes it at once. Lines become one, and a text of more
    /// than 8,000 bytes is cut.
    pub fn send(&self, level: Level, text: &str) -> bool {
        let message = self.message(level, text, TimeZone::system().to_datetime(Timestamp::now()));
        let bytes = message.as_bytes();
        match &self.way {
            Way::Sockets(paths) => paths.iter().any(|path| send_to(path, bytes).is_ok()),
            Way::Net(socket) => socket.send(bytes).is_ok(),
        }
    }

    fn message(&self, level: Level, text: &str, time: DateTime) -> String {
        let severity = match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        let priority = self.facility.number() * 8 + severity;
        let time = time.strftime("%b %e %H:%M:%S");
        let (ident, process) = (&self.ident, std::process::id());
        let text = one_line(cut(text, MAX_TEXT));
        format!("<{priority}>{time} {ident}[{process}]: {text}")
    }
}

/// One message is one line, and nothing in it steers a terminal.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The beginning, so long at most.
fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.split_at(end.unwrap_or(0)).0
}

/// A socket of its own for each message: there are few, and the daemon may be restarted between
/// two.
fn send_to(path: &Path, bytes: &[u8]) -> io::Result<usize> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(bytes, path)
}

/// A socket for datagrams to `host:port`, of the family that the host has; it is never waited for.
///
/// # Errors
/// When the host has no address.
pub fn connect(host: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let socket = match socket.connect(host) {
        Ok(()) => socket,
        Err(error) => {
            let other = UdpSocket::bind("[::]:0").map_err(|_| error)?;
            other.connect(host)?;
            other
        }
    };
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use jiff::civil::date;
    use log::Level;

    use super::{Address, Facility, Syslog};

    #[test]
    fn messages_have_the_usual_form() {
        let local3 = "local3".parse().unwrap();
        let syslog = Syslog::new(&Address::Socket("/no/such".into()), local3, "wal-main").unwrap();
        let time = date(2026, 1, 3).at(12, 0, 0, 0);
        let process = std::process::id();
        assert_eq!(
            syslog.message(Level::Warn, "two\nlines", time),
            format!("<156>Jan  3 12:00:00 wal-main[{process}]: two lines")
        );
        assert!(!syslog.is_heard() && !syslog.send(Level::Info, "x"));
    }

    #[test]
    fn a_name_of_several_lines_is_none_of_two_messages() {
        let nowhere = Address::Socket("/no/such".into());
        let syslog = Syslog::new(&nowhere, Facility::Daemon, "job\n<0>Jan  1 root").unwrap();
        let text = syslog.message(Level::Info, "x\r\u{1b}[2J", date(2026, 1, 3).at(12, 0, 0, 0));
        assert!(!text.contains(char::is_control), "{text:?}");
        assert!(text.contains(" job <0>Jan  1 root["), "{text}");
    }

    #[test]
    fn a_long_message_is_cut_and_arrives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let local = Syslog::new(&Address::Socket(path), Facility::Daemon, "x").unwrap();
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let host = Address::Host(server.local_addr().unwrap().to_string());
        let net = Syslog::new(&host, Facility::Daemon, &"y".repeat(1000)).unwrap();
        // Of two bytes each, at either place of the cut.
        for text in ["ü".repeat(1_000_000), format!("x{}", "ü".repeat(1_000_000))] {
            let mut bytes = [0; 10_000];
            assert!(local.send(Level::Info, &text));
            let length = daemon.recv(&mut bytes).unwrap();
            let text_there = std::str::from_utf8(&bytes[..length]).unwrap();
            assert!(text_there.ends_with("üüü") && length <= 8192, "{length}");
            assert!(net.send(Level::Info, &text));
            assert!(server.recv(&mut bytes).unwrap() <= 8192);
        }
        assert!(local.send(Level::Info, "short"));
    }

    /// Without a limit of time this test hangs when a message waits.
    #[test]
    fn a_daemon_that_reads_nothing_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let syslog = Syslog::new(&Address::Socket(path), Facility::Daemon, "x").unwrap();
        let taken = (0..100_000).take_while(|_| syslog.send(Level::Info, "x")).count();
        assert!(taken > 0 && taken < 100_000, "{taken}");
        // Who reads again gets messages again.
        while taken > 0 && daemon.recv(&mut [0; 100]).is_ok() {
            daemon.set_nonblocking(true).unwrap();
        }
        assert!(syslog.send(Level::Info, "x"));
    }

    #[test]
    fn a_host_is_reached_by_either_family() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            // A machine may have no IPv6.
            let Ok(daemon) = std::net::UdpSocket::bind(bind) else { continue };
            let host = Address::Host(daemon.local_addr().unwrap().to_string());
            let syslog = Syslog::new(&host, Facility::Daemon, "job").unwrap();
            assert!(syslog.send(Level::Error, "x"));
            let mut bytes = [0; 100];
            let length = daemon.recv(&mut bytes).unwrap();
            assert!(bytes[..length].starts_with(b"<27>"));
        }
        let nowhere = Address::Host("no.such.host.invalid:514".to_owned());
        assert!(Syslog::new(&nowhere, Facility::Daemon, "job").is_err());
    }
}
