//! Small object stores that speak as much of the protocols of S3, GCS and Azure Blob as an archive
//! needs, and misbehave on demand.

mod azure;
mod gcs;
pub(crate) mod http;
mod identity;
mod s3;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

pub use identity::IdentityServer;
pub use server::ObjectServer;

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
    /// Every request fails with status 503 when it is first made. Not every second one: of two
    /// clients that ask in turn, one would meet all failures and give up.
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
    /// Requests that a fault has met, which spares the ones that are made again.
    seen: BTreeSet<String>,
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
