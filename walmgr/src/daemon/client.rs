//! Asking the daemon. Every failure to get an answer means "do it yourself".

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::context::Context;
use crate::daemon::protocol::{self, Reply, Request, Verb};
use crate::log;

/// Ask the daemon to push or get; `None` when there is none that answers.
pub(crate) fn ask(
    context: &Context,
    verb: Verb,
    name: &str,
    path: &Path,
    patience: Option<Duration>,
) -> Option<Reply> {
    let socket = context.config.socket()?;
    let mut stream = UnixStream::connect(&socket).ok()?;
    stream.set_read_timeout(patience).ok()?;
    let request = Request {
        config: context.config.file.clone(),
        verb,
        name: name.to_owned(),
        path: std::path::absolute(path).ok()?,
    };
    let answered = protocol::send(&mut stream, &request).and_then(|()| protocol::receive(&stream));
    match answered {
        Ok(Reply::NotMine) => None,
        Ok(reply) => Some(reply),
        Err(error) => {
            log::debug(format_args!("the daemon did not answer: {error}"));
            None
        }
    }
}
