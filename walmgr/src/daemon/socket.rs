//! The daemon's socket: made for one user, and believed only when it is that user's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 128;

/// Listen on a socket that only this user may use.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = new(SocketFlags::CLOEXEC)?;
    // Before it has a name, so that there is no moment in which others may connect.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(0o600))?;
    with_address(path, |address| net::bind(&socket, address))?;
    net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Connect, or fail at once: a daemon that accepts nothing must not be waited for.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = new(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    with_address(path, |address| net::connect(&socket, address))?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// The user at the other end, when it is neither this one, who could change the data directory as
/// well, nor root.
pub(super) fn stranger(stream: &UnixStream) -> io::Result<Option<u32>> {
    let peer = net::sockopt::socket_peercred(stream)?.uid;
    let own = peer == rustix::process::geteuid() || peer.is_root();
    Ok((!own).then_some(peer.as_raw()))
}

/// Which file it is; `None` when there is none.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some((meta.dev(), meta.ino()))
}

fn new(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// An address takes 107 bytes; what is longer is reached through its directory's descriptor.
fn with_address(
    path: &Path,
    call: impl FnOnce(&SocketAddrUnix) -> Result<(), Errno>,
) -> io::Result<()> {
    match SocketAddrUnix::new(path) {
        Err(Errno::NAMETOOLONG) => {}
        address => return Ok(call(&address?)?),
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NAMETOOLONG.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd()));
    Ok(call(&SocketAddrUnix::new(short.join(name))?)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{connect, listen, stranger};

    #[test]
    fn a_socket_is_private_and_may_lie_deep() {
        let directory = tempfile::tempdir().unwrap();
        for depth in [1, 40] {
            let place = directory.path().join("deeper/".repeat(depth));
            std::fs::create_dir_all(&place).unwrap();
            let path = place.join("walmgr.sock");
            // The second time in place of the first.
            for _ in 0..2 {
                let listener = listen(&path).unwrap();
                assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);
                let stream = connect(&path).unwrap();
                assert_eq!(stranger(&stream).unwrap(), None);
                drop(listener);
            }
            assert!(connect(&path).is_err());
        }
    }

    #[test]
    fn a_daemon_that_accepts_nothing_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _listener = listen(&path).unwrap();
        let mut kept = Vec::new();
        // As many as the kernel holds, and then an answer all the same.
        while let Ok(stream) = connect(&path) {
            kept.push(stream);
            assert!(kept.len() < 10_000);
        }
        assert!(!kept.is_empty());
    }
}
