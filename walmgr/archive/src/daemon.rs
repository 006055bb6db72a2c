//! Asking the daemon: one line of JSON each way, and signs of life before the answer, as
//! `walmgr/src/daemon/protocol.rs` has it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use serde_json::{Value, json};

use crate::wait::Waiter;

/// Name of the daemon's socket in the data directory.
const SOCKET: &str = "walmgr.sock";
/// How long the answer may take; then the archiver goes without the daemon.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long there may be no sign of life.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const LIMIT: usize = 64 << 10;

/// What the daemon said.
pub(crate) enum Answer {
    /// The file is durable in the repository.
    Stored,
    /// It is not, and why.
    Failed(String),
}

/// Ask for a file to be stored; `None` when no daemon of this user and this configuration is there,
/// it went away, or it hangs.
pub(crate) fn push(config: &str, name: &str, path: &Path) -> Option<Answer> {
    let path = std::path::absolute(path).ok()?;
    let request = json!({"config": config, "verb": "Push", "name": name, "path": path.to_str()?});
    let mut stream = connect().ok()?;
    if let Some(user) = stranger(&stream) {
        pgrx::warning!("walmgr: {SOCKET} belongs to a process of user id {user}: it is not asked");
        return None;
    }
    stream.write_all(format!("{request}\n").as_bytes()).ok()?;
    let mut waiter = Waiter::new(PATIENCE);
    let (mut said, mut buffer, mut heard) = (Vec::new(), [0; 512], Instant::now());
    loop {
        // A sign of life and the answer may come together.
        while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = said.drain(..=end).collect();
            match understand(&line)? {
                Said::Answer(answer) => return Some(answer),
                Said::Busy => heard = Instant::now(),
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) if said.len() + count <= LIMIT => said.extend(buffer.get(..count)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = SILENCE.saturating_sub(heard.elapsed());
                if left.is_zero() {
                    leave_alone();
                    return None;
                }
                if !waiter.wait(Some(&stream), left) {
                    let seconds = PATIENCE.as_secs();
                    pgrx::warning!("walmgr: the daemon has not stored {name} for {seconds} s");
                    return None;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}

/// Connect, or fail at once.
fn connect() -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    Ok(UnixStream::from(socket))
}

/// The user who made the socket, when that is neither the server's, who could change the data
/// directory as well, nor root.
fn stranger(stream: &UnixStream) -> Option<u32> {
    let own = rustix::process::geteuid();
    match sockopt::socket_peercred(stream) {
        Ok(peer) if peer.uid == own || peer.uid.is_root() => None,
        Ok(peer) => Some(peer.uid.as_raw()),
        Err(_) => Some(u32::MAX),
    }
}

/// So that the next file need not find out as well that the daemon hangs. When it comes to life it
/// makes its socket anew.
fn leave_alone() {
    let seconds = SILENCE.as_secs();
    pgrx::warning!("walmgr: the daemon gives no sign of life for {seconds} s: going on without it");
    // It stays where it cannot be removed, and is asked again.
    let _ = std::fs::remove_file(SOCKET);
}

enum Said {
    Answer(Answer),
    Busy,
}

fn understand(line: &[u8]) -> Option<Said> {
    match serde_json::from_slice(line).ok()? {
        Value::String(word) if word == "Done" => Some(Said::Answer(Answer::Stored)),
        Value::String(word) if word == "Busy" => Some(Said::Busy),
        Value::Object(answer) => {
            let why = answer.get("Failed")?.get(1)?.as_str()?;
            Some(Said::Answer(Answer::Failed(why.to_owned())))
        }
        // It serves another configuration.
        _ => None,
    }
}
