//! Letting others go first: the server, and its archiver, need processor and disk more than a
//! backup does.

use std::process::{Command, Stdio};

use crate::log;

/// Lower the priority of this process and of all threads that it starts from now on: for the
/// processor by so much, and for disks to what is left over. What the system refuses is said, and
/// no reason not to go on.
pub(crate) fn be_polite(nice: u8, idle_io: bool) {
    if nice > 0
        && let Err(error) = rustix::process::nice(nice.into())
    {
        log::warning(format_args!("limits.nice has no effect: {error}"));
    }
    if idle_io {
        // Only the scheduler of the disk knows whether this has an effect.
        let pid = std::process::id().to_string();
        let mut ionice = Command::new("ionice");
        let run = ionice.args(["-c", "3", "-p", &pid]).stdin(Stdio::null()).output();
        let why = match run {
            Ok(output) if output.status.success() => return,
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("ionice: {error}"),
        };
        log::warning(format_args!("limits.idle_io has no effect: {why}"));
    }
}
