//! What the configuration says of the daemon.

use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Result;
use crate::value::within;

/// The resident process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Daemon {
    /// Its Unix socket; else `walmgr.sock` in the data directory.
    pub(crate) socket: Option<PathBuf>,
    /// Threads that store, for each required repository, and threads that fetch.
    pub(crate) jobs: usize,
    /// How many files are stored before they are asked for.
    pub(crate) ahead: usize,
    /// How many segments are fetched before they are asked for.
    pub(crate) prefetch: usize,
}

impl Default for Daemon {
    fn default() -> Self {
        Self { socket: None, jobs: 4, ahead: 64, prefetch: 8 }
    }
}

impl Daemon {
    /// Refuse numbers that mean nothing.
    pub(crate) fn check(&self) -> Result<()> {
        within("daemon.jobs", self.jobs, 1..=64)?;
        within("daemon.ahead", self.ahead, 0..=10_000)?;
        within("daemon.prefetch", self.prefetch, 0..=1_000)
    }
}
