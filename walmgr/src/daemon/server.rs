//! The daemon's socket: a few threads that accept and answer. PostgreSQL runs one archive_command and one restore_command at a time, and
//! a thread started for each would cost more than the answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::daemon::prefetch::Prefetcher;
use crate::daemon::protocol::{self, Reply, Request, Verb};
use crate::daemon::push::Pusher;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::wal::Fetched;

/// Connections that are served at the same time; others wait.
pub(crate) const THREADS: usize = 8;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What connections are served with.
pub(crate) struct Server {
    /// Configuration file whose clients are answered.
    pub(crate) config: std::path::PathBuf,
    /// Stores.
    pub(crate) pusher: Arc<Pusher>,
    /// Fetches.
    pub(crate) prefetcher: Arc<Prefetcher>,
}

impl Server {
    /// Listen on a socket that only this user may use.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) fn listen(socket: &Path) -> Result<UnixListener> {
        let what = || Error::local(format!("listen on {}", socket.display()));
        match fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(what()(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(what())?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).map_err(what())?;
        Ok(listener)
    }

    /// What each of [`THREADS`] does, for ever: accept, and answer.
    pub(crate) fn accept(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => self.answer(stream),
                Err(error) => {
                    log::warning(format_args!("cannot accept a connection: {error}"));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    fn answer(&self, mut stream: UnixStream) {
        if stream.set_read_timeout(Some(PATIENCE)).is_err() {
            return;
        }
        let Ok(request) = protocol::receive::<Request>(&stream) else { return };
        let reply = self.reply(&request);
        // A client that is gone asks again.
        let _ = protocol::send(&mut stream, &reply);
    }

    fn reply(&self, request: &Request) -> Reply {
        if request.config != self.config {
            return Reply::NotMine;
        }
        match request.verb {
            Verb::Push => match self.pusher.push(&request.path) {
                Ok(()) => Reply::Done,
                Err((code, message)) => Reply::Failed(code, message),
            },
            Verb::Get => match self.prefetcher.get(&request.name) {
                Ok((Fetched::Delivered, place)) => Reply::Ready(place),
                Ok((Fetched::Absent, _)) => Reply::Absent,
                Ok((Fetched::Hole, _)) => Reply::Hole,
                Err(error) => Reply::Failed(error.exit_code(), error.to_string()),
            },
        }
    }
}
