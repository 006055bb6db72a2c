//! Asking the daemon. Every failure to get an answer means "do it yourself", and so does an answer
//! of somebody else's daemon.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use walmgr_protocol::{DATA_MARK, LIMIT, PATIENCE, Reply, Request, SILENCE, SOCKET, SPOOL, Verb};

use crate::context::Context;
use crate::daemon::socket;
use crate::error::{Error, Result};
use crate::log;
use crate::wal::file::WalFile;

/// What came of asking the daemon.
#[derive(Debug)]
pub(crate) enum Asked {
    /// There is none of this configuration.
    Nobody,
    /// There is one, and its connection ended without an answer, or none came in time.
    Silence,
    /// It answered.
    Answer(Reply),
}

/// Ask the daemon to push a file, or to get one that is to come where the file is not yet. Not for
/// one of several repositories: it answers for all.
pub(crate) fn ask(context: &Context, verb: Verb, file: &WalFile) -> Asked {
    if !context.config.others().is_empty() {
        return Asked::Nobody;
    }
    let Some(socket) = context.config.socket() else { return Asked::Nobody };
    let Ok(path) = std::path::absolute(&file.path) else { return Asked::Nobody };
    let (config, name) = (context.config.file.path.clone(), file.name.to_string());
    exchange(&socket, &Request { config, verb, name, path })
}

/// Ask for what an archive_command of the plain form, `walmgr --config FILE archive-push PATH`,
/// wants, before anything is parsed or read, since the server waits for it with every segment
/// (`walmgr-push` does the same at less cost). It is run in the data directory, where the socket is
/// unless the configuration says otherwise. The daemon answers only for its own configuration file.
pub(crate) fn push_at_once(args: impl Iterator<Item = OsString>) -> Asked {
    let args: Vec<OsString> = args.take(6).collect();
    match args.as_slice() {
        [_, option, config, verb, path] if option == "--config" && verb == "archive-push" => {
            of_server(config, path)
                .map_or(Asked::Nobody, |request| exchange(Path::new(SOCKET), &request))
        }
        _ => Asked::Nobody,
    }
}

/// The request of a server to store a file; `None` when this is no server's data directory.
fn of_server(config: &OsStr, path: &OsStr) -> Option<Request> {
    let mark = OsStr::from_bytes(DATA_MARK.to_bytes());
    if !Path::new(mark).exists() {
        return None;
    }
    let WalFile { name, path } = WalFile::at(std::path::absolute(path).ok()?).ok()?;
    Some(Request { config: config.into(), verb: Verb::Push, name: name.to_string(), path })
}

/// Move a fetched file out of the daemon's spool to where it was asked for. Nothing but such a file
/// is touched.
///
/// # Errors
/// [`Error::Failed`] for another place; [`Error::Local`].
pub(crate) fn take(context: &Context, ready: &Path, file: &WalFile) -> Result<()> {
    let WalFile { name, path: to } = file;
    let spool = context.config.cluster.data.as_ref().map(|data| data.join(SPOOL));
    let ours = spool.is_some_and(|spool| ready.parent() == Some(spool.as_path()))
        && ready
            .file_name()
            .and_then(|leaf| leaf.to_str()?.strip_prefix(&name.to_string())?.strip_prefix('.'))
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

fn exchange(path: &Path, request: &Request) -> Asked {
    let before = socket::identity(path);
    let Ok(stream) = socket::connect(path) else { return Asked::Nobody };
    match socket::stranger(&stream) {
        Ok(None) => {}
        Ok(Some(user)) => {
            log::warning(format_args!(
                "{} belongs to a process of user id {user}: it is not asked",
                path.display()
            ));
            return Asked::Silence;
        }
        Err(error) => {
            log::warning(format_args!("{}: whose is it? {error}", path.display()));
            return Asked::Silence;
        }
    }
    match converse(&stream, request) {
        Ok(Some(Reply::NotMine)) => Asked::Nobody,
        Ok(Some(reply)) => Asked::Answer(reply),
        Ok(None) => {
            log::warning(format_args!("the daemon is at it for {} s", PATIENCE.as_secs()));
            Asked::Silence
        }
        Err(Error::Local { source, .. }) if is_timeout(&source) => {
            let seconds = SILENCE.as_secs();
            log::warning(format_args!("the daemon gives no sign of life for {seconds} s"));
            // So that the next ones need not find that out as well; a daemon that comes to life
            // again makes another.
            if before.is_some() && before == socket::identity(path) {
                let _ = std::fs::remove_file(path);
            }
            Asked::Silence
        }
        Err(error) => {
            log::debug(format_args!("the daemon did not answer: {error}"));
            Asked::Silence
        }
    }
}

/// Send the request and wait for the answer; `None` when the daemon is at it for too long.
fn converse(mut stream: &UnixStream, request: &Request) -> Result<Option<Reply>> {
    let end = Instant::now() + PATIENCE;
    stream
        .set_read_timeout(Some(SILENCE))
        .and_then(|()| stream.set_write_timeout(Some(SILENCE)))
        .map_err(Error::local("set up the socket"))?;
    walmgr_protocol::line(request)
        .and_then(|line| stream.write_all(&line))
        .map_err(Error::local("write to the socket"))?;
    let mut reader = BufReader::new(stream);
    loop {
        match receive(&mut reader).map_err(Error::local("read from the socket"))? {
            Reply::Busy if Instant::now() >= end => return Ok(None),
            Reply::Busy => {}
            reply => return Ok(Some(reply)),
        }
    }
}

fn receive(reader: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = Vec::new();
    reader.take(LIMIT.into()).read_until(b'\n', &mut line)?;
    walmgr_protocol::parse(&line)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use walmgr_protocol::{Reply, SOCKET, Verb};

    use super::{Asked, ask};
    use crate::config::Config;
    use crate::context::Context;
    use crate::daemon::socket;
    use crate::pg::transport::Transport;
    use crate::wal::file::WalFile;

    #[test]
    fn a_daemon_of_all_repositories_is_not_asked_for_one_of_them() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let file = data.join("walmgr.toml");
        let both =
            "[[repository]]\nname = 'a'\npath = '/a'\n[[repository]]\nname = 'b'\npath = '/b'\n";
        let text = format!("stanza = 'main'\ncluster.data = '{}'\n{both}", data.display());
        std::fs::write(&file, text).unwrap();
        let listener = socket::listen(&data.join(SOCKET)).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                BufReader::new(&stream).read_line(&mut String::new()).unwrap();
                stream.write_all(&walmgr_protocol::line(&Reply::Done).unwrap()).unwrap();
            }
        });
        let mut config = Config::load(&file).unwrap();
        let wal = WalFile::at(data.join("000000010000000000000001")).unwrap();
        for verb in [Verb::Push, Verb::Get] {
            let asked = ask(&Context::new(config.clone(), Transport::Plain, false), verb, &wal);
            assert!(matches!(asked, Asked::Answer(Reply::Done)), "{asked:?}");
        }
        config.select("a").unwrap();
        for verb in [Verb::Push, Verb::Get] {
            let asked = ask(&Context::new(config.clone(), Transport::Plain, false), verb, &wal);
            assert!(matches!(asked, Asked::Nobody), "{asked:?}");
        }
    }
}
