//! Asking the daemon, as `walmgr_protocol` has it, while the archiver goes on with its other work.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use walmgr_protocol::{LIMIT, PATIENCE, Reply, Request, SILENCE, SOCKET, Verb};

use crate::wait::Waiter;

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
    let (config, name) = (config.into(), name.to_owned());
    let request = Request { config, verb: Verb::Push, name, path };
    let mut stream = connect().ok()?;
    if let Some(user) = stranger(&stream) {
        pgrx::warning!("walmgr: {SOCKET} belongs to a process of user id {user}: it is not asked");
        return None;
    }
    stream.write_all(&walmgr_protocol::line(&request).ok()?).ok()?;
    let mut waiter = Waiter::new(PATIENCE);
    let (mut said, mut buffer, mut heard) = (Vec::new(), [0; 512], Instant::now());
    loop {
        // A sign of life and the answer may come together.
        while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = said.drain(..=end).collect();
            match walmgr_protocol::parse(&line).ok()? {
                Reply::Busy => heard = Instant::now(),
                Reply::Done => return Some(Answer::Stored),
                Reply::Failed(_, why) => return Some(Answer::Failed(why)),
                // It serves another configuration.
                _ => return None,
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) if said.len() + count <= LIMIT.into() => said.extend(buffer.get(..count)?),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = SILENCE.saturating_sub(heard.elapsed());
                if left.is_zero() {
                    leave_alone();
                    return None;
                }
                if !waiter.wait(Some(&stream), left) {
                    let seconds = PATIENCE.as_secs();
                    pgrx::warning!(
                        "walmgr: the daemon has not stored {} for {seconds} s",
                        request.name
                    );
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
