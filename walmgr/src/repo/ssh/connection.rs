//! Connections to the other host: an ssh process each, used again by whoever needs one next.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, Result};
use crate::log;
use crate::process::shell_quote;
use crate::repo::ssh::protocol::{self, Reply, Request, VERSION};
use crate::repo::ssh::settings::Ssh;

/// Connections that nobody uses now, by the command that made them.
type Idle = HashMap<Vec<String>, Vec<Connection>>;

fn idle() -> MutexGuard<'static, Idle> {
    static IDLE: OnceLock<Mutex<Idle>> = OnceLock::new();
    IDLE.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes connections to one repository.
#[derive(Clone)]
pub(super) struct Connector {
    settings: Ssh,
    words: Vec<String>,
}

/// A conversation with `walmgr remote-store`.
pub(super) struct Connection {
    stream: UnixStream,
    child: Child,
    /// It was idle before, so it may have gone stale.
    reused: bool,
}

impl Connector {
    /// For a repository; nothing is started yet.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(super) fn new(settings: &Ssh) -> Result<Self> {
        let mut words: Vec<String> =
            settings.command.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() || settings.host.is_empty() || settings.host.starts_with('-') {
            return Err(Error::Usage(
                "repository.ssh.host and .command must name a host and a program".to_owned(),
            ));
        }
        if !settings.path.is_absolute() {
            let path = settings.path.display();
            return Err(Error::Usage(format!("repository.ssh.path \"{path}\" is not absolute")));
        }
        words.push(settings.host.clone());
        // The percent signs that it doubles are for PostgreSQL; there are none to double here.
        let path = shell_quote(&settings.path.display().to_string()).replace("%%", "%");
        words.push(format!("{} remote-store {path}", settings.program));
        Ok(Self { settings: settings.clone(), words })
    }

    /// The other host.
    pub(super) fn host(&self) -> &str {
        &self.settings.host
    }

    /// What is connected to: an option of the command may lead to another host.
    pub(super) fn identity(&self) -> String {
        format!("{:?}", self.words)
    }

    /// Ask one thing.
    ///
    /// # Errors
    /// What the other end says, or [`Error::Repository`] when it says nothing.
    pub(super) fn ask(&self, request: &Request) -> Result<(Reply, Vec<u8>)> {
        let mut connection = self.connect()?;
        let mut answer = connection.ask(request, &[]);
        if answer.is_err() && connection.reused && request.can_be_repeated() {
            connection = self.start()?;
            answer = connection.ask(request, &[]);
        }
        let answer = answer.map_err(|error| self.lost(error))?;
        self.keep(connection);
        self.judge(answer)
    }

    /// A connection that works.
    pub(super) fn connect(&self) -> Result<Connection> {
        loop {
            let found = idle().get_mut(&self.words).and_then(Vec::pop);
            let Some(mut connection) = found else { return self.start() };
            connection.reused = true;
            if connection.is_alive() {
                return Ok(connection);
            }
        }
    }

    /// Let others use it.
    pub(super) fn keep(&self, connection: Connection) {
        idle().entry(self.words.clone()).or_default().push(connection);
    }

    /// Turn a reply that says so into an error.
    pub(super) fn judge(&self, answer: (Reply, Vec<u8>)) -> Result<(Reply, Vec<u8>)> {
        match answer {
            (Reply::Failed { code, text }, _) => {
                Err(protocol::error_of(&self.settings.host, code, text))
            }
            answer => Ok(answer),
        }
    }

    /// The error for a conversation that broke off.
    pub(super) fn lost(&self, error: io::Error) -> Error {
        let timed_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let error = if timed_out { io::ErrorKind::TimedOut.into() } else { error };
        Error::repository(format!("{}: lost walmgr remote-store", self.settings.host))(error)
    }

    fn start(&self) -> Result<Connection> {
        let host = &self.settings.host;
        let (program, arguments) = self
            .words
            .split_first()
            .ok_or_else(|| Error::Usage("repository.ssh.command is empty".to_owned()))?;
        let failed = || Error::repository(format!("{host}: start {program}"));
        // One socket for both directions: unlike a pipe, it has time limits.
        let (stream, theirs) = UnixStream::pair().map_err(failed())?;
        let output = theirs.try_clone().map_err(failed())?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            .spawn()
            .map_err(failed())?;
        let mut connection = Connection { stream, child, reused: false };
        let limit = Some(self.settings.timeout);
        let greeted = connection
            .stream
            .set_write_timeout(limit)
            .and_then(|()| connection.stream.set_read_timeout(limit))
            .and_then(|()| connection.ask(&Request::Hello { version: VERSION }, &[]))
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                    Error::repository(host)(io::Error::other(format!(
                        "no connection: \"{}\" ended; try it by hand",
                        self.words.join(" ")
                    )))
                }
                _ => self.lost(error),
            })?;
        self.judge(greeted)?;
        // From here on it may have to sync a large object before it answers.
        let patience = Some(self.settings.timeout * 10);
        connection.stream.set_read_timeout(patience).map_err(failed())?;
        log::debug(format_args!("{host}: connected"));
        Ok(connection)
    }
}

impl Connection {
    /// Send a request that is answered.
    pub(super) fn ask(&mut self, request: &Request, body: &[u8]) -> io::Result<(Reply, Vec<u8>)> {
        self.say(request, body)?;
        protocol::receive(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Send a part of an object.
    pub(super) fn say(&mut self, request: &Request, body: &[u8]) -> io::Result<()> {
        protocol::send(&mut self.stream, request, body)
    }

    /// Nothing has been said since the last answer, so there is nothing to read, unless it has
    /// ended.
    fn is_alive(&self) -> bool {
        let mut byte = [0];
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        matches!(
            rustix::net::recv(&self.stream, &mut byte, flags),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It would end by itself when it sees the end of its input, but the network may keep it
        // from that. Nothing to do on failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
