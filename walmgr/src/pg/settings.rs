//! What the configuration says of the server.

use std::path::PathBuf;

use serde::Deserialize;

/// The cluster on this host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// Data directory.
    pub(crate) data: Option<PathBuf>,
    /// Directory of `pg_ctl` and the others; else the search path.
    pub(crate) bin: Option<PathBuf>,
    /// Connection string of a superuser, key/value form or URI.
    pub(crate) connect: Option<String>,
}
