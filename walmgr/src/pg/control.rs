//! The control file of a data directory: which cluster it is.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::plain_file;

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
