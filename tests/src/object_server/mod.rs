//! Small object stores that speak as much of the protocols of S3, GCS and Azure Blob as an archive
//! needs, and misbehave on demand.

mod azure;
mod gcs;
pub(crate) mod http;
mod identity;
mod s3;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::site::write_owned;
pub use identity::IdentityServer;

use http::{Reply, Request, respond};

/// What a store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Amazon's protocol.
    S3,
    /// Google's JSON API.
    Gcs,
    /// Azure Blob.
    Azure,
}

impl Dialect {
    /// The section of the configuration.
    pub fn section(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
        }
    }
}

/// What the store does instead of its duty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it works.
    #[default]
    None,
    /// Every request fails with this status.
    Status(u16),
    /// Every second request fails with status 503.
    Flaky,
    /// It does what was asked and hangs up before the first answer to each PUT and POST; repeated
    /// ones are answered.
    LostAnswers,
    /// It accepts connections and says nothing.
    Silence,
    /// Bodies come one byte at a time, and never end.
    Trickle,
    /// Bodies end early.
    Cut,
    /// Bodies have a wrong bit.
    WrongBytes,
    /// It does not know conditional writes.
    Overwrites,
    /// It knows them, but not for the completion of an upload in parts.
    CompletesOver,
    /// It does not know uploads in parts.
    NoParts,
    /// Completing an upload is answered with an error, in S3 with status 200.
    ErrorInBody,
    /// It knows no request that removes many objects.
    NoBatches,
    /// It sends every client to the store on another port.
    SendsElsewhere(u16),
    /// Bodies have no end.
    Endless,
}

/// An object.
#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    time: SystemTime,
    /// What its upload was marked with.
    mark: String,
    /// Until when it is locked.
    until: Option<SystemTime>,
    version: u64,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    /// Locked objects whose name was removed.
    hidden: Vec<Object>,
    fault: Fault,
    requests: u64,
    /// How far ahead the store's clock is.
    ahead: Duration,
    lost: BTreeSet<String>,
    uploads: BTreeMap<String, Upload>,
    most_parts: usize,
    batches: usize,
    /// Whose requests are refused, by key or token.
    refused: BTreeSet<String>,
    /// Who has asked, by key or token.
    callers: BTreeSet<String>,
}

/// An upload in parts that is not complete.
struct Upload {
    key: String,
    mark: String,
    until: Option<SystemTime>,
    parts: BTreeMap<String, Vec<u8>>,
}

impl State {
    fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead
    }

    fn insert(&mut self, key: String, bytes: Vec<u8>, mark: String, until: Option<SystemTime>) {
        let object = Object { bytes, time: self.now(), mark, until, version: self.requests };
        if let Some(old) = self.objects.insert(key, object) {
            self.hide(old);
        }
    }

    /// Keep what is locked.
    fn hide(&mut self, old: Object) {
        if old.until.is_some_and(|until| self.now() < until) {
            self.hidden.push(old);
        }
    }

    /// Names below a prefix up to the next `/`, three a page; and where the next begins.
    fn page(&self, prefix: &str, token: &str) -> (Vec<String>, Option<usize>) {
        let mut entries: Vec<String> = self
            .objects
            .keys()
            .filter_map(|key| key.strip_prefix(prefix))
            .map(|rest| match rest.split_once('/') {
                Some((directory, _)) => format!("{prefix}{directory}/"),
                None => format!("{prefix}{rest}"),
            })
            .collect();
        entries.dedup();
        let start = token.parse().unwrap_or(0);
        let end = entries.len().min(start + 3);
        let next = (end < entries.len()).then_some(end);
        (entries[start..end].to_vec(), next)
    }
}

/// A running store with a bucket named `bucket`; it stops with the process.
#[derive(Clone)]
pub struct ObjectServer {
    dialect: Dialect,
    port: u16,
    state: Arc<Mutex<State>>,
}

impl ObjectServer {
    /// Start a store on a free port.
    pub fn start(dialect: Dialect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { dialect, port, state: Arc::default() };
        let running = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = running.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Lines of configuration for a repository in it, with what opens it in a file.
    pub fn place(&self, secret_file: &Path) -> String {
        let (secret, more) = match self.dialect {
            Dialect::S3 => ("secret\n".to_owned(), "access_key = 'key'\nsecret_key_file"),
            Dialect::Gcs => (gcs::account(self.port), "service_account_file"),
            Dialect::Azure => ("c2VjcmV0\n".to_owned(), "account_key_file"),
        };
        write_owned(secret_file, secret.as_bytes());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(secret_file, mode).unwrap();
        self.place_with(&format!("{more} = '{}'", secret_file.display()))
    }

    /// The same with other lines, without their section, for what opens it.
    pub fn place_with(&self, more: &str) -> String {
        let port = self.port;
        let own = match self.dialect {
            Dialect::S3 => format!(
                "endpoint = 'http://127.0.0.1:{port}'\nbucket = 'bucket'\npath_style = true"
            ),
            Dialect::Gcs => format!("endpoint = 'http://127.0.0.1:{port}'\nbucket = 'bucket'"),
            Dialect::Azure => format!(
                "endpoint = 'http://127.0.0.1:{port}/account'\naccount = 'account'\n\
                 container = 'bucket'"
            ),
        };
        let lines = format!("prefix = 'some/where'\ntimeout = '500ms'\n{own}\n{more}");
        let section = self.dialect.section();
        let lines: Vec<_> =
            lines.lines().map(|line| format!("repository.{section}.{line}")).collect();
        lines.join("\n")
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often it was asked.
    pub fn requests(&self) -> u64 {
        self.state.lock().unwrap().requests
    }

    /// From now on it does this instead of its duty.
    pub fn misbehave(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.fault = fault;
        state.lost.clear();
    }

    /// From now on it refuses requests that are signed with this key, or show this token.
    pub fn refuse(&self, caller: &str) {
        self.state.lock().unwrap().refused.insert(caller.to_owned());
    }

    /// The keys and tokens that were shown to it, the refused as well; and forget them.
    pub fn callers(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().callers).into_iter().collect()
    }

    /// Move its clock forward.
    pub fn advance(&self, by: Duration) {
        self.state.lock().unwrap().ahead += by;
    }

    /// Names of all objects, without the parts of others.
    pub fn names(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.objects.keys().filter(|name| !name.contains("/walmgr.parts/")).cloned().collect()
    }

    /// Names of the objects that are locked.
    pub fn locked(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let is_locked = |object: &Object| object.until.is_some_and(|until| state.now() < until);
        let locked = state.objects.iter().filter(|(_, object)| is_locked(object));
        locked.map(|(name, _)| name.clone()).collect()
    }

    /// How many locked objects have lost their name.
    pub fn hidden(&self) -> usize {
        self.state.lock().unwrap().hidden.len()
    }

    /// How many requests have removed many objects.
    pub fn batches(&self) -> usize {
        self.state.lock().unwrap().batches
    }

    /// How many uploads in parts are neither complete nor aborted.
    pub fn open_uploads(&self) -> usize {
        let state = self.state.lock().unwrap();
        match self.dialect {
            Dialect::Gcs => gcs::open_uploads(&state),
            _ => state.uploads.len(),
        }
    }

    /// The largest number of parts that an object was made of.
    pub fn most_parts(&self) -> usize {
        self.state.lock().unwrap().most_parts
    }

    /// Take an object out; its bytes.
    pub fn remove(&self, name: &str) -> Vec<u8> {
        self.state.lock().unwrap().objects.remove(name).unwrap().bytes
    }

    /// Put an object in, whether or not there is one.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().insert(name.to_owned(), bytes, String::new(), None);
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = http::read(&mut reader) {
            let fault = {
                let mut state = self.state.lock().unwrap();
                state.requests += 1;
                match state.fault {
                    Fault::Flaky if state.requests % 2 == 1 => Fault::Status(503),
                    Fault::Flaky => Fault::None,
                    fault => fault,
                }
            };
            let reply = match fault {
                Fault::Silence => {
                    // Until the client has had enough.
                    let _ = reader.read(&mut [0]);
                    return;
                }
                Fault::Endless => {
                    endless(&mut stream);
                    return;
                }
                Fault::SendsElsewhere(port) => {
                    let place = format!("http://127.0.0.1:{port}{}", request.target);
                    Reply::new(307, "").header("location", place)
                }
                Fault::Status(status) => Reply::new(status, "<Error><Code>Trouble</Code></Error>"),
                _ => self.act(&request, fault),
            };
            // A beginning that nobody knows of would stay for ever.
            let begins = request.query.contains_key("uploads");
            let writes = matches!(request.method.as_str(), "PUT" | "POST") && !begins;
            if fault == Fault::LostAnswers && writes && reply.status < 500 {
                // Two objects may be made by requests for one place.
                let what =
                    format!("{} {} {}", request.method, place_of(&request), request.body.len());
                if self.state.lock().unwrap().lost.insert(what) {
                    return;
                }
            }
            let has_body = request.method != "HEAD";
            let now = self.state.lock().unwrap().now();
            if !respond(&mut stream, &reply, now, has_body, fault) {
                return;
            }
        }
    }

    fn act(&self, request: &Request, fault: Fault) -> Reply {
        let mut state = self.state.lock().unwrap();
        match self.dialect {
            Dialect::S3 => s3::act(&mut state, request, fault),
            Dialect::Gcs => gcs::act(&mut state, request, fault),
            Dialect::Azure => azure::act(&mut state, request, fault),
        }
    }
}

/// What a request is about: without what signs it, which differs each time.
fn place_of(request: &Request) -> String {
    let query = request.query.iter().filter(|(name, _)| !name.starts_with("X-Amz-"));
    format!("{} {:?}", request.path, query.collect::<Vec<_>>())
}

fn endless(stream: &mut TcpStream) {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + (1 << 20), b'x');
    chunk.extend(b"\r\n");
    let mut wrote = stream.write_all(head);
    while wrote.is_ok() {
        wrote = stream.write_all(&chunk);
    }
}
