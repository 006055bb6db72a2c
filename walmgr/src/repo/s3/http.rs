//! Requests to the store: signed, with time limits, retried, and judged by what the answer proves.
//!
//! "Not there" is a 404 and nothing else. A create whose first attempt got lost may have worked:
//! when a later one finds the name taken, what is there is compared with what was sent.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle, actions::ListObjectsV2};
use ureq::Agent;
use ureq::http::Request;

use crate::config::S3;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::Created;

/// How long a signature holds; longer than any request with its retries.
pub(super) const VALID: Duration = Duration::from_secs(3600);
const ATTEMPTS: u32 = 4;

/// No answer is longer that is not content: a list of 1,000 names, or an error.
const ANSWER: u64 = 16 << 20;

/// A client for one bucket and prefix.
pub(super) struct Client {
    agent: Agent,
    /// The bucket, for signing.
    pub(super) bucket: Bucket,
    /// Key and secret.
    pub(super) credentials: Credentials,
    prefix: String,
}

/// What came back.
pub(super) struct Answer {
    /// HTTP status.
    pub(super) status: u16,
    /// The body, complete.
    pub(super) body: Vec<u8>,
    /// Content-Length, also where there is no body.
    pub(super) length: Option<u64>,
    /// `Date` of the answer.
    pub(super) date: Option<String>,
    /// `Last-Modified` of the object.
    pub(super) modified: Option<String>,
    /// `ETag` of a part.
    pub(super) tag: Option<String>,
    /// What tells uploads apart.
    pub(super) mark: Option<String>,
    /// True when an earlier attempt got lost, so that it may have had its effect.
    pub(super) after_loss: bool,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Usage`] for a bad endpoint or missing keys.
    pub(super) fn new(settings: &S3) -> Result<Self> {
        let endpoint = settings.endpoint.parse().map_err(|error| {
            Error::Usage(format!("repository.s3.endpoint \"{}\": {error}", settings.endpoint))
        })?;
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, settings.bucket.clone(), settings.region.clone())
            .map_err(|error| Error::Usage(format!("repository.s3: {error}")))?;
        let (key, secret) = settings.keys()?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A signed request is for this host alone, and another may answer whatever it likes.
            .max_redirects(0)
            .timeout_connect(Some(settings.timeout))
            .timeout_recv_response(Some(settings.timeout))
            .timeout_per_read(Some(settings.timeout))
            .timeout_per_write(Some(settings.timeout))
            // A body that trickles must end as well.
            .timeout_per_call(Some(settings.timeout * 10))
            .build()
            .new_agent();
        let prefix = settings.prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Self { agent, bucket, credentials: Credentials::new(key, secret), prefix })
    }

    /// The place, without keys.
    pub(super) fn describe(&self) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.prefix)
    }

    /// Create an object unless its name is taken.
    pub(super) fn put_new(&self, key: &str, body: &[u8]) -> Result<Created> {
        let answer = self.put(key, body, true)?;
        match answer.status {
            200..=299 => Ok(Created::New),
            412 if answer.after_loss => {
                let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
                let ours = self.get_whole(key, length)?.is_some_and(|bytes| bytes == body);
                Ok(if ours { Created::New } else { Created::Exists })
            }
            412 => Ok(Created::Exists),
            _ => Err(refused("create", key, &answer)),
        }
    }

    /// Create or replace an object. Only for leases.
    pub(super) fn put_over(&self, key: &str, body: &[u8]) -> Result<()> {
        let answer = self.put(key, body, false)?;
        if (200..300).contains(&answer.status) {
            Ok(())
        } else {
            Err(refused("write", key, &answer))
        }
    }

    fn put(&self, key: &str, body: &[u8], new: bool) -> Result<Answer> {
        let full = self.full(key);
        let mut action = self.bucket.put_object(Some(&self.credentials), &full);
        let digest = STANDARD.encode(Md5::digest(body));
        action.headers_mut().insert("content-md5", digest.clone());
        let mut headers = vec![("content-md5", digest)];
        if new {
            action.headers_mut().insert("if-none-match", "*");
            headers.push(("if-none-match", "*".to_owned()));
        }
        let url = action.sign(VALID);
        self.send("PUT", url.as_str(), &headers, body, key, None)
    }

    /// Read a range of an object (`start..end`); `None` when it does not exist.
    pub(super) fn get(&self, key: &str, range: (u64, u64)) -> Result<Option<Vec<u8>>> {
        self.fetch(key, Some(range), 0)
    }

    /// Read an object that is at most so long; `None` when it does not exist.
    pub(super) fn get_whole(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.fetch(key, None, limit)
    }

    fn fetch(&self, key: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Option<Vec<u8>>> {
        let full = self.full(key);
        let action = self.bucket.get_object(Some(&self.credentials), &full);
        let url = action.sign(VALID);
        let mut headers = Vec::new();
        if let Some((start, end)) = range {
            if start >= end {
                return Ok(Some(Vec::new()));
            }
            headers.push(("range", format!("bytes={start}-{}", end - 1)));
        }
        let expected = range.map_or(limit, |(start, end)| end - start);
        let answer = self.send("GET", url.as_str(), &headers, &[], key, Some(expected))?;
        match (answer.status, range) {
            (200, None) | (206, Some(_)) => Ok(Some(answer.body)),
            // Some stores answer a range that covers the whole object with the whole object.
            (200, Some((0, end))) if answer.length == Some(end) => Ok(Some(answer.body)),
            (404, _) => Ok(None),
            _ => Err(refused("read", key, &answer)),
        }
    }

    /// Size of an object; `None` when it does not exist.
    pub(super) fn size(&self, key: &str) -> Result<Option<u64>> {
        let answer = self.head(key)?;
        match (answer.status, answer.length) {
            (200, Some(length)) => Ok(Some(length)),
            (404, _) => Ok(None),
            _ => Err(refused("look at", key, &answer)),
        }
    }

    /// What is known of an object without its content.
    pub(super) fn head(&self, key: &str) -> Result<Answer> {
        let full = self.full(key);
        let url = self.bucket.head_object(Some(&self.credentials), &full).sign(VALID);
        self.send("HEAD", url.as_str(), &[], &[], key, None)
    }

    /// Remove an object; it need not exist.
    pub(super) fn delete(&self, key: &str) -> Result<()> {
        let full = self.full(key);
        let url = self.bucket.delete_object(Some(&self.credentials), &full).sign(VALID);
        let answer = self.send("DELETE", url.as_str(), &[], &[], key, None)?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused("remove", key, &answer)),
        }
    }

    /// Names directly below a directory, sorted; directories end in `/`.
    pub(super) fn list(&self, directory: &str) -> Result<Vec<String>> {
        let prefix = match directory {
            "" => self.prefix.clone(),
            _ => format!("{}{directory}/", self.prefix),
        };
        let mut names = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
            action.with_prefix(prefix.as_str());
            action.with_delimiter("/");
            if let Some(token) = token.take() {
                action.with_continuation_token(token);
            }
            let url = action.sign(VALID);
            let answer = self.send("GET", url.as_str(), &[], &[], directory, None)?;
            if answer.status != 200 {
                return Err(refused("list", directory, &answer));
            }
            let parsed = ListObjectsV2::parse_response(&String::from_utf8_lossy(&answer.body))
                .map_err(|error| {
                    Error::repository(format!("list {directory}"))(std::io::Error::other(
                        error.to_string(),
                    ))
                })?;
            let keys = parsed.contents.iter().map(|object| object.key.as_str());
            let directories = parsed.common_prefixes.iter().map(|common| common.prefix.as_str());
            names.extend(
                keys.chain(directories)
                    .filter_map(|key| key.strip_prefix(prefix.as_str()))
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned),
            );
            token = parsed.next_continuation_token;
            if token.is_none() {
                names.sort_unstable();
                return Ok(names);
            }
        }
    }

    /// The key with the prefix.
    pub(super) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Send until there is an answer that means something.
    pub(super) fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &[u8],
        key: &str,
        expected: Option<u64>,
    ) -> Result<Answer> {
        let mut pause = Duration::from_millis(100);
        let mut after_loss = false;
        let mut attempt = 1;
        loop {
            let outcome = self.once(method, url, headers, body, expected);
            let trouble = match outcome {
                Ok(answer) if !matches!(answer.status, 408 | 409 | 429 | 500..=599) => {
                    return Ok(Answer { after_loss, ..answer });
                }
                Ok(answer) if attempt == ATTEMPTS => return Ok(Answer { after_loss, ..answer }),
                Ok(answer) => format!("HTTP status {}", answer.status),
                Err(error) if attempt == ATTEMPTS => {
                    return Err(Error::repository(format!("{method} {key}"))(error));
                }
                Err(error) => error.to_string(),
            };
            log::debug(format_args!("{method} {key}: {trouble}; will retry"));
            after_loss = true;
            attempt += 1;
            std::thread::sleep(pause);
            pause *= 2;
        }
    }

    fn once(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, String)],
        body: &[u8],
        expected: Option<u64>,
    ) -> std::io::Result<Answer> {
        let other = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let response = if matches!(method, "PUT" | "POST") {
            self.agent.run(request.body(body).map_err(|error| other(&error))?)
        } else {
            self.agent.run(request.body(()).map_err(|error| other(&error))?)
        };
        let mut response = response.map_err(|error| other(&error))?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let length = header("content-length").and_then(|text| text.parse().ok());
        let (date, modified) = (header("date"), header("last-modified"));
        let (tag, mark) = (header("etag"), header("x-amz-meta-walmgr-upload"));
        let status = response.status().as_u16();
        let body = if method == "HEAD" {
            Vec::new()
        } else {
            let limit = expected.unwrap_or(0).max(ANSWER);
            response
                .body_mut()
                .with_config()
                .limit(limit)
                .read_to_vec()
                .map_err(|error| other(&error))?
        };
        let got = u64::try_from(body.len()).unwrap_or(0);
        if status == 206 && expected != Some(got) {
            return Err(std::io::Error::other("the answer is cut short"));
        }
        Ok(Answer { status, body, length, date, modified, tag, mark, after_loss: false })
    }
}

/// The error for an answer that is neither yes nor no.
pub(super) fn refused(doing: &str, key: &str, answer: &Answer) -> Error {
    // The store's own code says more than the status: <Code>AccessDenied</Code>.
    let text = String::from_utf8_lossy(&answer.body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code = code.map_or("", |(code, _)| code);
    Error::repository(format!("{doing} {key}"))(std::io::Error::other(format!(
        "HTTP status {} {code}",
        answer.status
    )))
}
