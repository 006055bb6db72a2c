//! What client and daemon say to each other: one line of JSON each way per connection, and a sign
//! of life each second before the answer.
//!
//! `walmgr/push` and `walmgr/archive`, which are built without this crate, write a push and read
//! its answer too.

use std::io::{BufRead, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Longest line that is read.
pub(crate) const LIMIT: usize = 64 << 10;

/// A daemon that is at it says so this often.
pub(crate) const PULSE: Duration = Duration::from_secs(1);

/// What a client wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Configuration file of the client; a daemon of another one does not answer.
    pub(crate) config: PathBuf,
    /// Push or get.
    pub(crate) verb: Verb,
    /// Name of the WAL file.
    pub(crate) name: String,
    /// Absolute path of the WAL file to push.
    pub(crate) path: PathBuf,
}

/// Push or get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verb {
    /// Store the file.
    Push,
    /// Bring the file.
    Get,
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Stored and durable.
    Done,
    /// Verified, and here to be renamed by the client. The daemon never writes to the client's
    /// path: a client that has given up on it must not find its file replaced later.
    Ready(PathBuf),
    /// The archive says with authority that there is no such file.
    Absent,
    /// It is missing between others.
    Hole,
    /// It failed: exit code and message.
    Failed(u8, String),
    /// It is at it; the answer follows.
    Busy,
    /// The daemon is not for this client.
    NotMine,
    /// Never sent: the connection ended without an answer, or none came in time.
    #[serde(skip)]
    Gone,
}

/// Send a message.
pub(crate) fn send<T: Serialize>(mut stream: &UnixStream, message: &T) -> Result<()> {
    let mut line = serde_json::to_vec(message).map_err(|error| Error::Failed(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(Error::local("write to the socket"))
}

/// Receive a message.
///
/// # Errors
/// [`Error::Local`] when the other side is gone, or talks nonsense.
pub(crate) fn receive<T: DeserializeOwned>(reader: &mut impl BufRead) -> Result<T> {
    let mut line = Vec::new();
    reader
        .take(u64::try_from(LIMIT).unwrap_or(0))
        .read_until(b'\n', &mut line)
        .map_err(Error::local("read from the socket"))?;
    parse(&line)
}

/// Understand a line.
///
/// # Errors
/// [`Error::Local`] for nonsense.
pub(crate) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line)
        .map_err(|error| Error::local("read from the socket")(std::io::Error::other(error)))
}
