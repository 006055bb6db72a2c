//! Azure Blob Storage, by its REST API: block blobs.

mod credentials;
pub(crate) mod settings;
mod sign;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest, Md5};

use crate::error::{Error, Result};
use crate::repo::object_store::ObjectStore;
use crate::repo::object_store::bucket::{
    self, Bucket, Head, Outcome, Page, Write, encode, encode_path, http_date,
};
use crate::repo::object_store::credentials::Cached;
use crate::repo::object_store::http::{Answer, Http, Request, busy};

use credentials::Key;
use settings::Azure;

/// The version of the protocol.
const VERSION: &str = "2020-10-02";

/// Header by which an upload is known again whose completion got no answer.
const MARK_HEADER: &str = "x-ms-meta-walmgr_upload";

/// A store at the place that the settings name; nothing is sent yet.
///
/// # Errors
/// [`Error::Usage`] for a missing or bad key.
pub(crate) fn store(settings: &Azure) -> Result<ObjectStore> {
    let usual = || format!("https://{}.blob.core.windows.net", settings.account);
    let endpoint = settings.endpoint.clone().unwrap_or_else(usual);
    let bucket = AzureContainer {
        http: Http::new(settings.timeout, busy),
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        account: settings.account.clone(),
        name: settings.container.clone(),
        key: credentials::find(settings)?,
        prefix: bucket::clean_prefix(&settings.prefix),
    };
    Ok(ObjectStore::new(bucket, &settings.prefix, settings.multipart))
}

/// A container, and what opens it.
struct AzureContainer {
    http: Http,
    endpoint: String,
    account: String,
    name: String,
    key: Arc<Cached<Key>>,
    prefix: String,
}

/// What all requests have.
struct Ask<'a> {
    method: &'static str,
    /// The blob's name; empty for the container.
    key: &'a str,
    query: Vec<(&'static str, &'a str)>,
    headers: Vec<(&'static str, String)>,
    body: &'a [u8],
    range: Option<(u64, u64)>,
    limit: u64,
}

impl<'a> Ask<'a> {
    fn new(method: &'static str, key: &'a str) -> Self {
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method, key, query, headers, body: &[], range: None, limit: 0 }
    }

    /// With content, and the digest by which the store refuses what did not arrive whole.
    fn body(mut self, body: &'a [u8]) -> Self {
        self.body = body;
        self.headers.push(("content-md5", STANDARD.encode(Md5::digest(body))));
        self.headers.push(("content-type", "application/octet-stream".to_owned()));
        self
    }

    /// Only if there is no such blob.
    fn if_new(mut self, new: bool) -> Self {
        if new {
            self.headers.push(("if-none-match", "*".to_owned()));
        }
        self
    }
}

impl AzureContainer {
    fn send(&self, ask: &Ask<'_>) -> Result<Answer> {
        let keys = self.key.user();
        self.http.send(ask.key, &|renew| self.request(ask, &keys.get(renew)?))
    }

    /// A request, with what opens the container.
    fn request<'a>(&self, ask: &Ask<'a>, key: &Key) -> Result<Request<'a>> {
        let mut place = format!("{}/{}", self.endpoint, encode(&self.name));
        if !ask.key.is_empty() {
            place.push('/');
            place.push_str(&encode_path(ask.key));
        }
        let mut query: Vec<_> =
            ask.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        if let Key::Sas(signature) = key {
            query.push(signature.clone());
        }
        let url =
            if query.is_empty() { place.clone() } else { format!("{place}?{}", query.join("&")) };
        let mut request = Request::new(ask.method, url).body(ask.body);
        request.headers = ask.headers.clone();
        if ask.method == "GET" {
            request = request.ranged(ask.range, ask.limit);
        }
        request = request.header("x-ms-version", VERSION);
        request = request.header("x-ms-date", http_date(Timestamp::now()));
        match key {
            Key::Sas(_) => Ok(request),
            Key::Bearer(token) => Ok(request.header("authorization", format!("Bearer {token}"))),
            Key::Shared(key) => {
                let path = place
                    .split_once("://")
                    .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
                let path = path.unwrap_or("/");
                let text = sign::text(
                    &self.account,
                    ask.method,
                    path,
                    &ask.query,
                    &request.headers,
                    ask.body.len(),
                );
                let value = sign::authorization(&self.account, key, &text);
                let value =
                    value.ok_or_else(|| Error::Usage("the key signs nothing".to_owned()))?;
                Ok(request.header("authorization", value))
            }
        }
    }
}

/// True for an answer by which there is a blob of the name.
fn is_taken(answer: &Answer) -> bool {
    answer.status == 412 || (answer.status == 409 && answer.code() == "BlobAlreadyExists")
}

impl Bucket for AzureContainer {
    fn describe(&self) -> String {
        format!("azure://{}/{}/{}", self.account, self.name, self.prefix)
    }

    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    fn section(&self) -> &'static str {
        "repository.azure"
    }

    fn put(&self, key: &str, body: &[u8], how: Write) -> Result<Outcome> {
        let new = how != Write::Over;
        let mut ask = Ask::new("PUT", key).body(body).if_new(new);
        ask.headers.push(("x-ms-blob-type", "BlockBlob".to_owned()));
        let answer = self.send(&ask)?;
        match answer.status {
            200..=299 => Ok(Outcome::Done),
            _ if new && is_taken(&answer) => Ok(Outcome::taken(&answer)),
            _ => Err(answer.refused("create", key)),
        }
    }

    fn get(&self, key: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Option<Vec<u8>>> {
        if range.is_some_and(|(start, end)| start >= end) {
            return Ok(Some(Vec::new()));
        }
        let answer = self.send(&Ask { range, limit, ..Ask::new("GET", key) })?;
        answer.content(key, range)
    }

    fn head(&self, key: &str) -> Result<Option<Head>> {
        let answer = self.send(&Ask::new("HEAD", key))?;
        match (answer.status, answer.length()) {
            (200, Some(size)) => {
                let modified = answer.header("last-modified").and_then(bucket::http_time);
                let mark = answer.header(MARK_HEADER).map(str::to_owned);
                Ok(Some(Head { size, age: bucket::age(&answer, modified), mark }))
            }
            (404, _) => Ok(None),
            _ => Err(answer.refused("look at", key)),
        }
    }

    fn delete(&self, key: &str) -> Result<()> {
        let answer = self.send(&Ask::new("DELETE", key))?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(answer.refused("remove", key)),
        }
    }

    fn page(&self, prefix: &str, token: Option<&str>) -> Result<Page> {
        let mut ask = Ask::new("GET", "");
        ask.query = vec![("restype", "container"), ("comp", "list"), ("delimiter", "/")];
        ask.query.push(("prefix", prefix));
        if let Some(token) = token {
            ask.query.push(("marker", token));
        }
        let answer = self.send(&ask)?;
        if answer.status != 200 {
            return Err(answer.refused("list", prefix));
        }
        let text = answer.text();
        let parsed = roxmltree::Document::parse(text.trim_start_matches('\u{feff}'));
        let parsed = parsed.map_err(|error| {
            Error::repository(format!("list {prefix}"))(std::io::Error::other(error.to_string()))
        })?;
        let root = parsed.root_element();
        if !root.has_tag_name("EnumerationResults") {
            return Err(answer.refused("list", prefix));
        }
        let entries = root.children().filter(|node| node.has_tag_name("Blobs"));
        let entries = entries.flat_map(|blobs| blobs.children());
        let names = entries.flat_map(|entry| entry.children());
        let names = names.filter(|node| node.has_tag_name("Name"));
        let next = root.children().find(|node| node.has_tag_name("NextMarker"));
        Ok(Page {
            names: names.filter_map(|node| node.text()).map(str::to_owned).collect(),
            next: next.and_then(|node| node.text()).map(str::to_owned),
        })
    }

    fn begin(&self, _key: &str, mark: &str, _how: Write) -> Result<String> {
        // All blocks of a blob have names of one length, whoever sent them.
        Ok(Md5::digest(mark).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn part(&self, key: &str, upload: &str, number: u16, body: &[u8]) -> Result<String> {
        let id = STANDARD.encode(format!("{upload}-{number:05}"));
        let mut ask = Ask::new("PUT", key).body(body);
        ask.query = vec![("comp", "block"), ("blockid", id.as_str())];
        let answer = self.send(&ask)?;
        if !answer.is_success() {
            return Err(answer.refused("send a part of", key));
        }
        Ok(id)
    }

    fn complete(&self, key: &str, _upload: &str, parts: &[String], mark: &str) -> Result<Outcome> {
        let blocks: String =
            parts.iter().map(|id| format!("<Uncommitted>{id}</Uncommitted>")).collect();
        let body = format!("<?xml version=\"1.0\"?><BlockList>{blocks}</BlockList>");
        let mut ask = Ask::new("PUT", key).body(body.as_bytes()).if_new(true);
        ask.query = vec![("comp", "blocklist")];
        ask.headers.push((MARK_HEADER, mark.to_owned()));
        let answer = self.send(&ask)?;
        match answer.status {
            200..=299 => Ok(Outcome::Done),
            _ if is_taken(&answer) => Ok(Outcome::taken(&answer)),
            // The blocks are gone: an attempt that got lost has worked, or another upload has won,
            // which discards all blocks that are not its own.
            400 if answer.code() == "InvalidBlockList" => Ok(Outcome::TakenAfterLoss),
            _ => Err(answer.refused("complete upload of", key)),
        }
    }

    fn abort(&self, _key: &str, _upload: &str) -> Result<()> {
        // Blocks that nobody names are discarded by the store, after a week.
        Ok(())
    }
}
