//! The daemon's socket: a few threads that accept and answer. PostgreSQL runs one archive_command
//! and one restore_command at a time, and a thread started for each would cost more than the
//! answer.
//!
//! One more thread keeps watch ([`Server::watch`]): it gives signs of life to clients that wait,
//! listens to those who do not say what they want, and sees to it that the socket is there.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgq_connect::redact;
use rustix::net::SendFlags;
use walmgr_protocol::plain::BUSY;
use walmgr_protocol::{LIMIT, PATIENCE, PULSE, Reply, Request, Verb};

use crate::config::original::Original;
use crate::config::watch::{Now, Watch};
use crate::daemon::prefetch::Prefetcher;
use crate::daemon::push::Pusher;
use crate::daemon::{socket, threads};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::wal::Fetched;
use crate::wal::file::WalFile;

/// Connections that are served at the same time; others wait.
pub(crate) const THREADS: usize = 8;

/// How long a thread listens to a client; those who have not said by then what they want are left
/// to the watch.
const QUICK: Duration = Duration::from_millis(20);

/// How long they may take in all, and how many of them there may be.
const SLOW: Duration = Duration::from_secs(10);
const QUIET: usize = 256;

/// What connections are served with.
pub(crate) struct Server {
    /// Configuration file whose clients are answered, as long as it says what was read.
    config: Original,
    socket: PathBuf,
    listener: Mutex<Arc<UnixListener>>,
    pusher: Arc<Pusher>,
    prefetcher: Arc<Prefetcher>,
    /// Clients that wait for an answer, and since when.
    waiting: Mutex<Vec<(Instant, Arc<UnixStream>)>>,
    /// Clients that have not said what they want.
    quiet: Mutex<Vec<Quiet>>,
    came: Condvar,
    ended: AtomicBool,
}

struct Quiet {
    stream: Arc<UnixStream>,
    said: Vec<u8>,
    since: Instant,
}

impl Server {
    /// Listen on a socket that only this user may use.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) fn listen(
        config: Original,
        socket: PathBuf,
        pusher: Arc<Pusher>,
        prefetcher: Arc<Prefetcher>,
    ) -> Result<Self> {
        let listener = socket::listen(&socket)
            .map_err(Error::local(format!("listen on {}", socket.display())))?;
        Ok(Self {
            config,
            socket,
            listener: Mutex::new(Arc::new(listener)),
            pusher,
            prefetcher,
            waiting: Mutex::default(),
            quiet: Mutex::default(),
            came: Condvar::new(),
            ended: AtomicBool::new(false),
        })
    }

    /// Listen no more. Clients that wait see the connection end, and do the work themselves.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) fn end(&self) -> Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        match std::fs::remove_file(&self.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::local(format!("remove {}", self.socket.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// What each of [`THREADS`] does, for ever: accept, and answer.
    pub(crate) fn accept(&self) {
        loop {
            let listener = Arc::clone(&lock(&self.listener));
            match listener.accept() {
                Ok((stream, _)) => self.hear(stream),
                // The watch has made a new one.
                Err(_) if !Arc::ptr_eq(&listener, &lock(&self.listener)) => {}
                Err(error) => {
                    log::warning(format_args!("cannot accept a connection: {error}"));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }

    /// Keep watch until the daemon is to end: there is another configuration that it could be
    /// started with, or `is_served` tells that this daemon is not the data directory's any more.
    pub(crate) fn watch(self: &Arc<Self>, mut config: Watch, is_served: impl Fn() -> bool) {
        let mut pulse = Instant::now();
        loop {
            let mut quiet = lock(&self.quiet);
            let pause = if quiet.is_empty() { PULSE } else { QUICK };
            quiet = self
                .came
                .wait_timeout(quiet, pause.min(PULSE.saturating_sub(pulse.elapsed())))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let requests = listen_to(&mut quiet);
            drop(quiet);
            for (stream, request) in requests {
                let server = Arc::clone(self);
                threads::once(move || server.answer(&stream, &request));
            }
            if pulse.elapsed() < PULSE {
                continue;
            }
            pulse = Instant::now();
            self.give_signs_of_life();
            if !is_served() {
                log::error(
                    "the data directory is not the one any more that this daemon was started for",
                );
                return;
            }
            if config.look() == Now::Other
                && let Err(error) = self.config.check()
            {
                log::error(error);
                return;
            }
            if !self.socket.exists() && !self.ended.load(Ordering::Relaxed) {
                self.listen_anew();
            }
        }
    }

    /// A client that saw no sign of life has removed the socket, or somebody who tidied up.
    fn listen_anew(&self) {
        match socket::listen(&self.socket) {
            Ok(listener) => {
                let old = std::mem::replace(&mut *lock(&self.listener), Arc::new(listener));
                // Wakes the threads that accept. A failure leaves them with a socket that nobody
                // finds.
                let _ = rustix::net::shutdown(&*old, rustix::net::Shutdown::Both);
                log::warning(format_args!("{} was removed: made anew", self.socket.display()));
            }
            Err(error) => log::warning(format_args!("{}: {error}", self.socket.display())),
        }
    }

    fn give_signs_of_life(&self) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // While this is locked no answer is on its way.
        for (since, stream) in lock(&self.waiting).iter() {
            if since.elapsed() >= PULSE {
                // Who is gone need not be told.
                let _ = rustix::net::send(&**stream, BUSY, flags);
            }
        }
    }

    /// Hear what a client wants, if it says so at once.
    fn hear(&self, stream: UnixStream) {
        if !matches!(socket::stranger(&stream), Ok(None))
            || stream.set_read_timeout(Some(QUICK)).is_err()
            || stream.set_write_timeout(Some(SLOW)).is_err()
        {
            return;
        }
        let (since, mut said) = (Instant::now(), Vec::new());
        let stream = Arc::new(stream);
        loop {
            match read(&stream, &mut said) {
                Heard::Request(request) => return self.answer(&stream, &request),
                Heard::Nothing => return,
                Heard::Part if since.elapsed() < QUICK => {}
                Heard::Part | Heard::Silence => break,
            }
        }
        let mut quiet = lock(&self.quiet);
        if quiet.len() >= QUIET {
            quiet.remove(0);
        }
        quiet.push(Quiet { stream, said, since });
        self.came.notify_one();
    }

    fn answer(&self, stream: &Arc<UnixStream>, request: &Request) {
        lock(&self.waiting).push((Instant::now(), Arc::clone(stream)));
        // Only its panic is of interest.
        let _ = failpoint::visit("daemon.answer");
        let reply = self.reply(request);
        lock(&self.waiting).retain(|(_, other)| !Arc::ptr_eq(other, stream));
        // A client that is gone asks again.
        let _ = match reply {
            Some(reply) => {
                walmgr_protocol::line(&reply).and_then(|line| (&**stream).write_all(&line))
            }
            None => stream.shutdown(Shutdown::Both),
        };
    }

    fn reply(&self, request: &Request) -> Option<Reply> {
        let is_mine = || request.config == self.config.path && self.config.check().is_ok();
        if !is_mine() {
            return Some(Reply::NotMine);
        }
        let reply = match request.verb {
            Verb::Push => match WalFile::at(request.path.clone()) {
                Ok(file) => match self.pusher.push(&file, PATIENCE)? {
                    Ok(()) => Reply::Done,
                    Err((code, message)) => failed(code, &message),
                },
                Err(error) => failed(error.exit_code(), &error.to_string()),
            },
            Verb::Get => match self.prefetcher.get(&request.name) {
                Ok((Fetched::Delivered, place)) => Reply::Ready(place),
                Ok((Fetched::Absent, _)) => Reply::Absent,
                Ok((Fetched::Hole, _)) => Reply::Hole,
                Err(error) => failed(error.exit_code(), &error.to_string()),
            },
        };
        // What was done by the old configuration is not all that the new one asks for.
        Some(if is_mine() { reply } else { Reply::NotMine })
    }
}

/// What clients print as it is.
fn failed(code: u8, message: &str) -> Reply {
    Reply::Failed(code, redact(message))
}

/// What reading from a client brought.
enum Heard {
    Request(Request),
    /// The beginning of one.
    Part,
    /// Not a word for now.
    Silence,
    /// It is gone, or talks nonsense.
    Nothing,
}

fn read(mut stream: &UnixStream, said: &mut Vec<u8>) -> Heard {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => Heard::Nothing,
        Ok(count) => {
            said.extend(buffer.get(..count).expect("a read fills no more than the buffer"));
            match said.split(|byte| *byte == b'\n').next() {
                Some(line) if line.len() < said.len() => {
                    walmgr_protocol::parse(line).map_or(Heard::Nothing, Heard::Request)
                }
                _ if said.len() >= LIMIT.into() => Heard::Nothing,
                _ => Heard::Part,
            }
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Heard::Silence
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Heard::Part,
        Err(_) => Heard::Nothing,
    }
}

/// Listen once to each client that has not said what it wants; the requests of those who now have.
fn listen_to(quiet: &mut Vec<Quiet>) -> Vec<(Arc<UnixStream>, Request)> {
    let mut requests = Vec::new();
    quiet.retain_mut(|client| {
        // Whether something has come is asked without waiting.
        let heard = match client.stream.set_nonblocking(true) {
            Ok(()) => read(&client.stream, &mut client.said),
            Err(_) => Heard::Nothing,
        };
        match heard {
            Heard::Request(request) => {
                if client.stream.set_nonblocking(false).is_ok() {
                    requests.push((Arc::clone(&client.stream), request));
                }
                false
            }
            Heard::Nothing => false,
            Heard::Part | Heard::Silence => client.since.elapsed() < SLOW,
        }
    });
    requests
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
