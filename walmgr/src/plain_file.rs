//! Opening what must be a regular file: a pipe in its place would keep a thread waiting for ever,
//! and a device has no end.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Open a regular file for reading.
///
/// # Errors
/// Those of opening; also when it is of another kind.
pub(crate) fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok((file, meta)) } else { Err(io::Error::other("it is no regular file")) }
}

/// Read a regular file that is small by its nature.
///
/// # Errors
/// As [`open`]; also when it is larger than that.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read;
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) {
        Ok(bytes)
    } else {
        Err(io::Error::other("it is too large"))
    }
}
