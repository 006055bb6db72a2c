//! Asking the daemon. Every failure to get an answer means "do it yourself".

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::context::Context;
use crate::daemon::protocol::{self, Reply, Request, Verb};
use crate::log;

/// Name of the daemon's socket in the data directory, where it is unless the configuration says otherwise.
pub(crate) const SOCKET: &str = "walmgr.sock";

/// How long the daemon may take to store a file; then the command does it itself, lest a daemon that hangs keep the server from archiving,
/// and from stopping.
pub(crate) const PUSH_PATIENCE: Duration = Duration::from_secs(60);

/// Ask the daemon to push or get; `None` when there is none of this configuration.
pub(crate) fn ask(
    context: &Context,
    verb: Verb,
    name: &str,
    path: &Path,
    patience: Option<Duration>,
) -> Option<Reply> {
    let request = Request {
        config: context.config.file.clone(),
        verb,
        name: name.to_owned(),
        path: std::path::absolute(path).ok()?,
    };
    exchange(&context.config.socket()?, &request, patience)
}

/// Ask for what an archive_command of the plain form, `walmgr --config FILE archive-push PATH`, wants, before anything is parsed or read,
/// since the server waits for it with every segment (`walmgr-push` does the same at less cost). It is run in the data directory,
/// where the socket is unless the configuration says otherwise. The daemon answers only for its own configuration file.
pub(crate) fn push_at_once(args: impl Iterator<Item = OsString>) -> Option<Reply> {
    let args: Vec<OsString> = args.take(6).collect();
    let [_, option, config, verb, path] = args.as_slice() else { return None };
    if option != "--config" || verb != "archive-push" {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let name = path.file_name()?.to_str()?.to_owned();
    let request = Request { config: PathBuf::from(config), verb: Verb::Push, name, path };
    exchange(Path::new(SOCKET), &request, Some(PUSH_PATIENCE))
}

fn exchange(socket: &Path, request: &Request, patience: Option<Duration>) -> Option<Reply> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(patience).ok()?;
    let answered = protocol::send(&mut stream, request).and_then(|()| protocol::receive(&stream));
    match answered {
        Ok(Reply::NotMine) => None,
        Ok(reply) => Some(reply),
        Err(error) => {
            log::debug(format_args!("the daemon did not answer: {error}"));
            Some(Reply::Gone)
        }
    }
}
