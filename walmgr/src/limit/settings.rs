//! What the configuration says of limits.

use serde::Deserialize;

use crate::error::Result;
use crate::value::{opt_rate, within};

/// How much of network, disk and processor is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Bytes a second between `backup` and the repository.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) backup: Option<u64>,
    /// The same of all that stores WAL.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) archive: Option<u64>,
    /// The same of `restore`.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) restore: Option<u64>,
    /// How much a backup's priority for the processor is lowered, 0 to 19.
    pub(crate) nice: u8,
    /// A backup uses disks only when nobody else does.
    pub(crate) idle_io: bool,
}

impl Limits {
    /// Refuse numbers that mean nothing.
    pub(crate) fn check(&self) -> Result<()> {
        within("limits.nice", self.nice, 0..=19)
    }
}
