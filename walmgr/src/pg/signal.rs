//! The files that tell a starting server what kind of recovery to do.

use std::path::Path;

use crate::pg::{control, running};

/// What the server in a data directory is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// `standby.signal`: follows until it is promoted, asks again and again for what is not there
    /// yet.
    Standby,
    /// `recovery.signal`: recovers to a target or to the end of WAL, and takes "not there" for the
    /// end.
    Targeted,
    /// Neither, and a server that was in recovery runs there: it is being promoted. All it still
    /// asks for is the history of the timeline it comes from, between removing the signal file and
    /// opening for writing.
    Over,
    /// Neither, and nobody knows who asks.
    Unknown,
}

/// What recovery a data directory is set for; `standby.signal` wins, as it does for the server.
/// Only the directory that a command is run in is known to be that of the server that runs it.
pub(crate) fn recovery(data: &Path) -> Recovery {
    if data.join("standby.signal").exists() {
        Recovery::Standby
    } else if data.join("recovery.signal").exists() {
        Recovery::Targeted
    } else if data == Path::new(".")
        && control::is_in_archive_recovery(data)
        && running::postmaster(data).is_some()
    {
        Recovery::Over
    } else {
        Recovery::Unknown
    }
}
