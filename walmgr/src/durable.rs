//! What outlives a loss of power.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};

/// Make the names in a directory durable.
///
/// # Errors
/// [`Error::Local`].
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let what = || Error::local(format!("sync {}", path.display()));
    File::open(path).map_err(what())?.sync_all().map_err(what())
}
