//! A repository on another host, reached through ssh.
//!
//! `walmgr remote-store` over there does all the work on its own disk ([`serve`]) and answers only
//! for what is durable there, so the promises are those of a local directory. A conversation that
//! breaks off is trouble with the repository, never an absent object, and ssh's own exit code
//! reaches nobody. "Absent" is what the other walmgr says.

mod connection;
mod protocol;
pub(crate) mod serve;
pub(crate) mod settings;
mod sink;

use std::io::{self, Read};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::repo::{Created, Fill, Lock, LockMode, Source, Store, lost};
use crate::size::{narrow, wide};

use connection::{Connection, Connector};
use protocol::{Reply, Request};
use settings::Ssh;
use sink::RemoteSink;

/// How much is read at a time when an object is read from its beginning.
const BLOCK: u64 = 1 << 20;

/// A directory of another host.
pub(crate) struct SshStore {
    connector: Connector,
    place: String,
}

impl SshStore {
    /// Open a repository.
    ///
    /// # Errors
    /// [`Error::Repository`] when the host does not answer, or there is no repository.
    pub(crate) fn open(settings: &Ssh) -> Result<Self> {
        Self::new(settings, &Request::Open)
    }

    /// Make the directory a repository, or open the one that is there.
    ///
    /// # Errors
    /// As for a local directory.
    pub(crate) fn init(settings: &Ssh) -> Result<Self> {
        // A client that may only add finds what is there.
        Self::open(settings).or_else(|_| Self::new(settings, &Request::Init))
    }

    fn new(settings: &Ssh, first: &Request) -> Result<Self> {
        let connector = Connector::new(settings)?;
        connector.ask(first)?;
        Ok(Self { connector, place: format!("{settings:?}") })
    }

    fn names(&self, request: &Request) -> Result<Vec<String>> {
        match self.connector.ask(request)? {
            (Reply::Names, body) => {
                serde_json::from_slice(&body).map_err(|error| self.connector.lost(error.into()))
            }
            answer => Err(unexpected(&self.connector, &answer.0)),
        }
    }

    fn fill(&self, connection: &mut Connection, fill: &mut Fill<'_>) -> Result<Created> {
        let mut sink = RemoteSink::new(connection);
        let filled = fill(&mut sink)
            .and_then(|()| sink.finish().map_err(|error| self.connector.lost(error)));
        let last = if filled.is_ok() { Request::Finish } else { Request::Abandon };
        let answer = connection.ask(&last, &[]);
        filled?;
        match self.connector.judge(answer.map_err(|error| self.connector.lost(error))?)? {
            (Reply::Created { new: true }, _) => Ok(Created::New),
            (Reply::Created { new: false }, _) => Ok(Created::Exists),
            (answer, _) => Err(unexpected(&self.connector, &answer)),
        }
    }
}

impl Store for SshStore {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        let mut connection = self.connector.connect()?;
        let request = Request::Create { key: key.to_owned() };
        connection.say(&request, &[]).map_err(|error| self.connector.lost(error))?;
        let created = self.fill(&mut connection, fill);
        // After an error nobody knows where in the conversation the other end is.
        if created.is_ok() {
            self.connector.keep(connection);
        }
        created
    }

    fn settle(&self, key: &str) -> Result<()> {
        self.connector.ask(&Request::Settle { key: key.to_owned() }).map(|_| ())
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>> {
        match self.connector.ask(&Request::Size { key: key.to_owned() })? {
            (Reply::Size { size: Some(size) }, _) => {
                let connector = self.connector.clone();
                Ok(Some(Box::new(RemoteSource { connector, key: key.to_owned(), size })))
            }
            (Reply::Size { size: None }, _) => Ok(None),
            (answer, _) => Err(unexpected(&self.connector, &answer)),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.names(&Request::List { directory: directory.to_owned() })
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.connector.ask(&Request::Remove { key: key.to_owned() }).map(|_| ())
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        self.connector.ask(&Request::SetAside { key: key.to_owned() }).map(|_| ())
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        let mut connection = self.connector.connect()?;
        let exclusive = mode == LockMode::Exclusive;
        let request = Request::Lock { key: key.to_owned(), exclusive };
        let answer = connection.ask(&request, &[]).map_err(|error| self.connector.lost(error))?;
        match self.connector.judge(answer) {
            Ok(_) => Ok(Box::new(RemoteLock {
                key: key.to_owned(),
                connector: self.connector.clone(),
                connection: Some(connection),
            })),
            Err(error) => {
                self.connector.keep(connection);
                Err(error)
            }
        }
    }

    fn sweep(&self, directory: &str, age: Duration) -> Result<Vec<String>> {
        self.names(&Request::Sweep { directory: directory.to_owned(), seconds: age.as_secs() })
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    fn identity(&self) -> String {
        self.connector.identity()
    }
}

/// The other end holds the lock, for as long as the connection lives.
struct RemoteLock {
    key: String,
    connector: Connector,
    connection: Option<Connection>,
}

impl Lock for RemoteLock {
    fn check(&mut self) -> Result<()> {
        let Some(connection) = &mut self.connection else {
            return Err(lost(&self.key, "its connection has ended"));
        };
        match connection.ask(&Request::Open, &[]) {
            Ok(answer) => self.connector.judge(answer).map(|_| ()),
            Err(error) => {
                // What comes later must not be taken for the answer.
                self.connection = None;
                Err(lost(&self.key, &self.connector.lost(error).to_string()))
            }
        }
    }
}

impl Drop for RemoteLock {
    fn drop(&mut self) {
        // When it cannot be said, the connection ends, and with it the lock.
        if let Some(mut connection) = self.connection.take()
            && connection.ask(&Request::Unlock, &[]).is_ok()
        {
            self.connector.keep(connection);
        }
    }
}

struct RemoteSource {
    connector: Connector,
    key: String,
    size: u64,
}

impl RemoteSource {
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let length = u32::try_from(length)
            .map_err(|_| Error::Failed(format!("read {}: too much at once", self.key)))?;
        let request = Request::Read { key: self.key.clone(), offset, length };
        match self.connector.ask(&request)? {
            (Reply::Bytes, body) if u32::try_from(body.len()) == Ok(length) => Ok(body),
            (answer, _) => Err(unexpected(&self.connector, &answer)),
        }
    }
}

impl Source for RemoteSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let block = narrow(BLOCK);
        let mut at = offset;
        for part in buffer.chunks_mut(block) {
            part.copy_from_slice(&self.read(at, part.len())?);
            at += wide(part.len());
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        Box::new(Reader { source: self, offset: 0, block: Vec::new(), used: 0 })
    }
}

/// Reads an object from its beginning, block by block.
struct Reader<'a> {
    source: &'a RemoteSource,
    offset: u64,
    block: Vec<u8>,
    used: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.block.len() {
            let length = (self.source.size - self.offset).min(BLOCK);
            if length == 0 {
                return Ok(0);
            }
            let length = usize::try_from(length).map_err(io::Error::other)?;
            self.block = self.source.read(self.offset, length).map_err(io::Error::other)?;
            self.offset += wide(length);
            self.used = 0;
        }
        let rest = self.block.get(self.used..).expect("no more is used than there is");
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used += count;
        Ok(count)
    }
}

fn unexpected(connector: &Connector, reply: &Reply) -> Error {
    Error::repository(connector.host())(io::Error::other(format!("unexpected answer {reply:?}")))
}
