//! What the configuration says of backups.

use std::time::Duration;

use serde::Deserialize;

use crate::error::Result;
use crate::value::{duration, within};

/// How backups are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// Threads that read, compress and write.
    pub(crate) jobs: usize,
    /// How long to wait for the last WAL segments to be archived.
    #[serde(deserialize_with = "duration")]
    pub(crate) archive_timeout: Duration,
    /// Begin with an immediate checkpoint instead of a spread one.
    pub(crate) fast_checkpoint: bool,
}

impl Default for Backup {
    fn default() -> Self {
        Self { jobs: 2, archive_timeout: Duration::from_secs(60), fast_checkpoint: true }
    }
}

impl Backup {
    /// Refuse numbers that mean nothing.
    pub(crate) fn check(&self) -> Result<()> {
        within("backup.jobs", self.jobs, 1..=256)
    }
}
