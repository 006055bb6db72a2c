//! How long each side waits for the other.

use core::time::Duration;

/// A daemon that is at it says so this often.
pub const PULSE: Duration = Duration::from_secs(1);

/// How long it may give no sign of life.
pub const SILENCE: Duration = Duration::from_secs(5);

/// How long it may take in all. Then the client does it itself, lest a repository that hangs for
/// the daemon keep the server from archiving, and from stopping.
pub const PATIENCE: Duration = Duration::from_secs(30);
