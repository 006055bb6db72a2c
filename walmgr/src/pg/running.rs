//! Whether a server runs in a data directory.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// Process id of the postmaster that runs in a data directory. A stale `postmaster.pid` does not count; when in doubt, it runs.
pub(crate) fn postmaster(data: &Path) -> Option<i32> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let number: i32 = text.lines().next()?.trim().parse().ok()?;
    let pid = Pid::from_raw(number)?;
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return None;
    }
    // The number may belong to somebody else by now. A postmaster's working directory is its data directory.
    match std::fs::read_link(format!("/proc/{number}/cwd")) {
        Ok(cwd) => {
            let same = data.canonicalize().is_ok_and(|data| data == cwd);
            same.then_some(number)
        }
        Err(_) => Some(number),
    }
}
