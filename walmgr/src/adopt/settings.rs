//! What an INI file of walmgr3 says of its archive.

use std::path::PathBuf;

/// Where walmgr3 kept its things on this host, for `adopt`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy {
    /// `walmgr_data`.
    pub(crate) top: Option<PathBuf>,
    /// `completed_wals`.
    pub(crate) complete: Option<PathBuf>,
    /// `partial_wals`.
    pub(crate) partial: Option<PathBuf>,
    /// `full_backup`.
    pub(crate) backup: Option<PathBuf>,
    /// `config_backup`.
    pub(crate) config: Option<PathBuf>,
}
