//! What the configuration says of a repository on another host.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::value::duration;

/// A directory of another host that has walmgr too.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ssh {
    /// `HOST` or `USER@HOST`.
    pub(crate) host: String,
    /// The directory over there.
    pub(crate) path: PathBuf,
    /// What connects: a program and its options; host and remote command follow.
    #[serde(default = "default_ssh")]
    pub(crate) command: String,
    /// walmgr over there.
    #[serde(default = "default_program")]
    pub(crate) program: String,
    /// How long a connection may take; ten times that for an answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ssh://{}{}", self.host, self.path.display())
    }
}

impl Ssh {
    /// With the defaults of all but the place.
    pub(crate) fn new(host: &str, path: PathBuf) -> Self {
        Self {
            host: host.to_owned(),
            path,
            command: default_ssh(),
            program: default_program(),
            timeout: default_timeout(),
        }
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_ssh() -> String {
    "ssh -T -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10".to_owned()
}

fn default_program() -> String {
    "walmgr".to_owned()
}
