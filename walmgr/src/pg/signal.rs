//! The files that tell a starting server what kind of recovery to do.

use std::path::Path;

/// What the server in a data directory is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// `standby.signal`: follows for ever, asks again and again for what is not there yet.
    Standby,
    /// `recovery.signal`: recovers to a target or to the end of WAL, and takes "not there" for the end.
    Targeted,
    /// Neither.
    None,
}

/// What recovery a data directory is set for; `standby.signal` wins, as it does for the server.
pub(crate) fn recovery(data: &Path) -> Recovery {
    if data.join("standby.signal").exists() {
        Recovery::Standby
    } else if data.join("recovery.signal").exists() {
        Recovery::Targeted
    } else {
        Recovery::None
    }
}
