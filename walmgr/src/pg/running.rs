//! Whether a server runs in a data directory, or uses one of its places.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Process id of the postmaster that runs in a data directory. A stale `postmaster.pid` does not
/// count; when in doubt, it runs.
pub(crate) fn postmaster(data: &Path) -> Option<i32> {
    let number = noted(data)?;
    let pid = Pid::from_raw(number)?;
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return None;
    }
    // The number may belong to somebody else by now. A postmaster's working directory is its data
    // directory.
    match std::fs::read_link(format!("/proc/{number}/cwd")) {
        Ok(cwd) => {
            let same = data.canonicalize().is_ok_and(|data| data == cwd);
            same.then_some(number)
        }
        Err(_) => Some(number),
    }
}

/// A server of this host that runs elsewhere.
pub(crate) struct Running {
    /// Of its postmaster.
    pub(crate) pid: i32,
    /// Its data directory.
    pub(crate) data: PathBuf,
    /// Where its links lead: directories and tablespaces outside of the data directory.
    pub(crate) places: Vec<PathBuf>,
}

/// All servers of this host that this user may look at.
pub(crate) fn all() -> Vec<Running> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let data = std::fs::read_link(entry.path().join("cwd")).ok()?;
            (noted(&data)? == pid).then(|| Running { pid, places: places(&data), data })
        })
        .collect()
}

/// Where the links lead that a data directory has at its top, in `base` and in `pg_tblspc`.
fn places(data: &Path) -> Vec<PathBuf> {
    ["", "base", "pg_tblspc"]
        .iter()
        .flat_map(|below| std::fs::read_dir(data.join(below)).into_iter().flatten().flatten())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .filter_map(|entry| entry.path().canonicalize().ok())
        .collect()
}

/// The process that `postmaster.pid` names.
fn noted(data: &Path) -> Option<i32> {
    // Paths in it need not be UTF-8.
    let text = std::fs::read(data.join("postmaster.pid")).ok()?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    OsStr::from_bytes(line).to_str()?.trim().parse().ok()
}
