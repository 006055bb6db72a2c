//! Asking the daemon. Every failure to get an answer means "do it yourself", and so does an answer
//! of somebody else's daemon.

use std::ffi::OsString;
use std::io::{self, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::daemon::prefetch::SPOOL;
use crate::daemon::protocol::{self, Reply, Request, Verb};
use crate::daemon::socket;
use crate::error::{Error, Result};
use crate::log;

/// Name of the daemon's socket in the data directory, where it is unless the configuration says
/// otherwise.
pub(crate) const SOCKET: &str = "walmgr.sock";

/// How long the daemon may take in all; then the command does it itself, lest a repository that
/// hangs for the daemon keep the server from archiving, and from stopping.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may give no sign of life; one that works gives one each second.
const SILENCE: Duration = Duration::from_secs(5);

/// Ask the daemon to push or get; `None` when there is none of this configuration.
pub(crate) fn ask(context: &Context, verb: Verb, name: &str, path: &Path) -> Option<Reply> {
    let request = Request {
        config: context.config.file.clone(),
        verb,
        name: name.to_owned(),
        path: std::path::absolute(path).ok()?,
    };
    exchange(&context.config.socket()?, &request)
}

/// Ask for what an archive_command of the plain form, `walmgr --config FILE archive-push PATH`,
/// wants, before anything is parsed or read, since the server waits for it with every segment
/// (`walmgr-push` does the same at less cost). It is run in the data directory, where the socket is
/// unless the configuration says otherwise. The daemon answers only for its own configuration file.
pub(crate) fn push_at_once(args: impl Iterator<Item = OsString>) -> Option<Reply> {
    let args: Vec<OsString> = args.take(6).collect();
    let [_, option, config, verb, path] = args.as_slice() else { return None };
    if option != "--config" || verb != "archive-push" {
        return None;
    }
    // A socket that lies anywhere else is none of this server's.
    if !Path::new("global/pg_control").exists() {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let name = path.file_name()?.to_str()?.to_owned();
    let request = Request { config: PathBuf::from(config), verb: Verb::Push, name, path };
    exchange(Path::new(SOCKET), &request)
}

/// Move a fetched file out of the daemon's spool to where it was asked for. Nothing but such a file
/// is touched.
///
/// # Errors
/// [`Error::Failed`] for another place; [`Error::Local`].
pub(crate) fn take(context: &Context, name: &str, ready: &Path, to: &Path) -> Result<()> {
    let spool = context.config.cluster.data.as_ref().map(|data| data.join(SPOOL));
    let ours = spool.is_some_and(|spool| ready.parent() == Some(spool.as_path()))
        && ready
            .file_name()
            .and_then(|leaf| leaf.to_str()?.strip_prefix(name)?.strip_prefix('.'))
            .is_some_and(|serial| {
                !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_digit())
            })
        && ready.symlink_metadata().is_ok_and(|meta| meta.is_file());
    if !ours {
        return Err(Error::Failed(format!(
            "the daemon says that {name} is {}, which is not in its spool",
            ready.display()
        )));
    }
    std::fs::rename(ready, to).map_err(Error::local(format!("rename to {}", to.display())))
}

fn exchange(path: &Path, request: &Request) -> Option<Reply> {
    let before = socket::identity(path);
    let mut stream = socket::connect(path).ok()?;
    match socket::stranger(&stream) {
        Ok(None) => {}
        Ok(Some(user)) => {
            log::warning(format_args!(
                "{} belongs to a process of user id {user}: it is not asked",
                path.display()
            ));
            return Some(Reply::Gone);
        }
        Err(error) => {
            log::warning(format_args!("{}: whose is it? {error}", path.display()));
            return Some(Reply::Gone);
        }
    }
    match converse(&mut stream, request) {
        Ok(Reply::NotMine) => None,
        Ok(reply) => Some(reply),
        Err(Error::Local { source, .. }) if is_timeout(&source) => {
            let seconds = SILENCE.as_secs();
            log::warning(format_args!("the daemon gives no sign of life for {seconds} s"));
            // So that the next ones need not find that out as well; a daemon that comes to life
            // again makes another.
            if before.is_some() && before == socket::identity(path) {
                let _ = std::fs::remove_file(path);
            }
            Some(Reply::Gone)
        }
        Err(error) => {
            log::debug(format_args!("the daemon did not answer: {error}"));
            Some(Reply::Gone)
        }
    }
}

fn converse(stream: &mut UnixStream, request: &Request) -> Result<Reply> {
    let end = Instant::now() + PATIENCE;
    stream
        .set_read_timeout(Some(SILENCE))
        .and_then(|()| stream.set_write_timeout(Some(SILENCE)))
        .map_err(Error::local("set up the socket"))?;
    protocol::send(stream, request)?;
    let mut reader = BufReader::new(&*stream);
    loop {
        match protocol::receive(&mut reader)? {
            Reply::Busy if Instant::now() >= end => {
                log::warning(format_args!("the daemon is at it for {} s", PATIENCE.as_secs()));
                return Ok(Reply::Gone);
            }
            Reply::Busy => {}
            reply => return Ok(reply),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
