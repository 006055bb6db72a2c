//! The control file of a data directory: which cluster it is.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::plain_file;

/// Bytes of the file: `PG_CONTROL_FILE_SIZE`.
pub(crate) const SIZE: u64 = 8192;
/// It has 8 KiB.
const LIMIT: u64 = 64 << 10;

/// Identifier of the cluster in a data directory; `None` when the directory has no control file.
///
/// # Errors
/// [`Error::Corrupt`] for a control file that is too short or of an unknown version.
pub(crate) fn system_identifier(data: &Path) -> Result<Option<u64>> {
    let path = data.join("global/pg_control");
    let bytes = match plain_file::read(&path, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
    };
    let parsed = || {
        let version = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
        let identifier = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        // 1300 for PostgreSQL 13 to 16, then the major version times 100.
        (1300..3000).contains(&version).then_some(identifier)
    };
    parsed().map(Some).ok_or_else(|| {
        Error::Corrupt(format!(
            "{} is not a control file of PostgreSQL 13 or newer",
            path.display()
        ))
    })
}

/// True when the control file says that the server recovers from an archive. That stands there
/// until it opens for writing.
pub(crate) fn is_in_archive_recovery(data: &Path) -> bool {
    const IN_ARCHIVE_RECOVERY: u32 = 5;
    let bytes = std::fs::read(data.join("global/pg_control")).unwrap_or_default();
    let state = bytes.get(16..20).and_then(|state| state.try_into().ok()).map(u32::from_le_bytes);
    state == Some(IN_ARCHIVE_RECOVERY)
}
