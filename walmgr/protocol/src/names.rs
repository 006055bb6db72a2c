//! Where the daemon and its clients meet.

use core::ffi::CStr;

/// The daemon's socket in the server's data directory, where commands of the server run. The
/// configuration may name another.
pub const SOCKET: &str = "walmgr.sock";

/// The directory in the data directory from which fetched files are handed over by rename.
pub const SPOOL: &str = "walmgr.spool";

/// The file in the data directory that the one daemon holds locked.
pub const LOCK: &str = "walmgr.daemon.lock";

/// All that a daemon has in the data directory. No backup has it, and a restore leaves it alone.
pub const IN_DATA: [&str; 3] = [SOCKET, SPOOL, LOCK];

/// What only a data directory has. A socket that lies anywhere else is none of this server's.
pub const DATA_MARK: &CStr = c"global/pg_control";
