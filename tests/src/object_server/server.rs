//! The server of a store: it takes requests, and misbehaves as it was told.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{self, Reply, Request, respond};
use super::{Dialect, Fault, Object, State, azure, gcs, s3};
use crate::site::write_owned;

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
        let lines = format!("prefix = 'some/where'\ntimeout = '30s'\n{own}\n{more}");
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
        state.seen.clear();
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
                let fault = state.fault;
                match fault {
                    Fault::Flaky if state.seen.insert(what_of(&request)) => Fault::Status(503),
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
            if fault == Fault::LostAnswers
                && writes
                && reply.status < 500
                && self.state.lock().unwrap().seen.insert(what_of(&request))
            {
                return;
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

/// What a request is about: without what signs it, which differs each time. Its length is of it,
/// since two objects may be made by requests for one place.
fn what_of(request: &Request) -> String {
    let query = request.query.iter().filter(|(name, _)| !name.starts_with("X-Amz-"));
    let (place, query) = (&request.path, query.collect::<Vec<_>>());
    format!("{} {place} {query:?} {}", request.method, request.body.len())
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
