//! What the configuration says of messages.

use std::path::PathBuf;

use pgq_syslog::Facility;
use serde::Deserialize;

/// Where messages go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// To standard error, syslog, or both.
    pub(crate) to: LogTo,
    /// Socket of the syslog daemon.
    pub(crate) socket: PathBuf,
    /// Facility of messages.
    pub(crate) facility: Facility,
    /// What they are from.
    pub(crate) ident: String,
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogTo {
    /// Standard error.
    Stderr,
    /// The syslog daemon.
    Syslog,
    /// Both.
    Both,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            to: LogTo::Stderr,
            socket: PathBuf::from("/dev/log"),
            facility: Facility::Daemon,
            ident: "walmgr".to_owned(),
        }
    }
}
