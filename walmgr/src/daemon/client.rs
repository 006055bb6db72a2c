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

/// Ask the daemon to push or get; `None` when there is none that answers.
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

/// The archive_command that `setup` writes, `walmgr --config FILE archive-push PATH`, run by the server in its data directory while a
/// daemon listens there: true when the file is stored, before anything is parsed or read, since the server waits for it with every
/// segment. Everything else goes the long way, a failure too: only the configuration says where messages go. The daemon answers
/// only for its own configuration file.
pub(crate) fn push_at_once(args: impl Iterator<Item = OsString>) -> bool {
    let args: Vec<OsString> = args.take(6).collect();
    let [_, option, config, verb, path] = args.as_slice() else { return false };
    if option != "--config" || verb != "archive-push" {
        return false;
    }
    let Ok(path) = std::path::absolute(path) else { return false };
    let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
        return false;
    };
    let request = Request { config: PathBuf::from(config), verb: Verb::Push, name, path };
    matches!(exchange(Path::new(SOCKET), &request, None), Some(Reply::Done))
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
            None
        }
    }
}
