//! Messages to the syslog daemon, as datagrams to its local socket.
//!
//! The form is that of RFC 3164 without a host name, which is what `/dev/log` takes. A message is
//! one datagram that is sent without waiting: nothing that archives may hang because a log daemon
//! does.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// Facility of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Facility {
    User,
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// Its number.
    fn number(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Daemon => 3,
            Self::Local0 => 16,
            Self::Local1 => 17,
            Self::Local2 => 18,
            Self::Local3 => 19,
            Self::Local4 => 20,
            Self::Local5 => 21,
            Self::Local6 => 22,
            Self::Local7 => 23,
        }
    }
}

/// A syslog daemon and what messages to it look like.
#[derive(Debug)]
pub(crate) struct Syslog {
    /// Its socket.
    pub(crate) socket: PathBuf,
    /// Facility of messages.
    pub(crate) facility: Facility,
    /// What they are from.
    pub(crate) ident: String,
}

impl Syslog {
    /// Send a message; false when nobody takes it.
    pub(crate) fn send(&self, level: &str, text: &str) -> bool {
        let message = self.message(level, text, TimeZone::system().to_datetime(Timestamp::now()));
        // A socket of its own for each: there are few messages, and the daemon may be restarted
        // between two.
        UnixDatagram::unbound()
            .and_then(|socket| {
                socket.set_nonblocking(true)?;
                socket.send_to(message.as_bytes(), &self.socket)
            })
            .is_ok()
    }

    fn message(&self, level: &str, text: &str, time: DateTime) -> String {
        let severity = match level {
            "ERROR" => 3,
            "WARNING" => 4,
            "DEBUG" => 7,
            _ => 6,
        };
        let priority = self.facility.number() * 8 + severity;
        let time = time.strftime("%b %e %H:%M:%S");
        let (ident, process) = (&self.ident, std::process::id());
        // One message is one line.
        let text = text.replace(['\n', '\r'], " ");
        format!("<{priority}>{time} {ident}[{process}]: {level}: {text}")
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{Facility, Syslog};

    #[test]
    fn messages_have_the_usual_form() {
        let syslog = Syslog {
            socket: "/no/such".into(),
            facility: Facility::Local3,
            ident: "wal-main".to_owned(),
        };
        let time = date(2026, 1, 3).at(12, 0, 0, 0);
        let process = std::process::id();
        assert_eq!(
            syslog.message("WARNING", "two\nlines", time),
            format!("<156>Jan  3 12:00:00 wal-main[{process}]: WARNING: two lines")
        );
        assert!(!syslog.send("LOG", "x"));
    }
}
