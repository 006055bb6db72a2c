//! What the configuration says of streaming.

use std::path::PathBuf;

use serde::Deserialize;

/// Receiving WAL as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Streaming {
    /// Where the growing segment is kept.
    pub(crate) directory: Option<PathBuf>,
    /// Replication slot; else `walmgr_STANZA`.
    pub(crate) slot: Option<String>,
}
