//! Asking the daemon: one line of JSON each way, as `walmgr/src/daemon/protocol.rs` has it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait::Waiter;

/// Name of the daemon's socket in the data directory.
const SOCKET: &str = "walmgr.sock";
/// How long the answer may take; then the archiver is told that it failed, tries again, and can be stopped meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const LIMIT: usize = 64 << 10;

/// What the daemon said.
pub(crate) enum Answer {
    /// The file is durable in the repository.
    Stored,
    /// It is not, and why.
    Failed(String),
}

/// Ask for a file to be stored; `None` when no daemon of this configuration is there, or it went away.
pub(crate) fn push(config: &str, name: &str, path: &Path) -> Option<Answer> {
    let path = std::path::absolute(path).ok()?;
    let request = json!({"config": config, "verb": "Push", "name": name, "path": path.to_str()?});
    let mut stream = UnixStream::connect(SOCKET).ok()?;
    stream.write_all(format!("{request}\n").as_bytes()).ok()?;
    stream.set_nonblocking(true).ok()?;
    let mut waiter = Waiter::new(PATIENCE);
    let (mut line, mut buffer) = (Vec::new(), [0; 512]);
    while !line.ends_with(b"\n") && line.len() < LIMIT {
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => line.extend(buffer.get(..count)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if !waiter.wait(Some(&stream), PATIENCE) {
                    let why =
                        format!("the daemon has not stored {name} for {} s", PATIENCE.as_secs());
                    return Some(Answer::Failed(why));
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    understand(&line)
}

fn understand(line: &[u8]) -> Option<Answer> {
    match serde_json::from_slice(line).ok()? {
        Value::String(word) if word == "Done" => Some(Answer::Stored),
        Value::Object(answer) => {
            let why = answer.get("Failed")?.get(1)?.as_str()?;
            Some(Answer::Failed(why.to_owned()))
        }
        // It serves another configuration.
        _ => None,
    }
}
