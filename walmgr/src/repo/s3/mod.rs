//! The protocol of S3, by which many object stores can be reached.

mod credentials;
mod retention;
pub(crate) mod settings;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rusty_s3::actions::{DeleteObjectsResponse, ListObjectsV2, ObjectIdentifier};
use rusty_s3::{Credentials, S3Action, UrlStyle};

use crate::error::{Error, Result};
use crate::repo::object_store::ObjectStore;
use crate::repo::object_store::bucket::{self, Bucket, Head, Outcome, Page, Write};
use crate::repo::object_store::credentials::Cached;
use crate::repo::object_store::http::{Answer, Http, Request, busy};

use settings::{Retention, S3};

/// How long a signature holds; longer than any attempt.
const VALID: Duration = Duration::from_secs(3600);

/// How many objects one request may remove.
const BATCH: usize = 1000;

/// A store at the place that the settings name; nothing is sent yet.
///
/// # Errors
/// [`Error::Usage`] for a bad endpoint or missing keys.
pub(crate) fn store(settings: &S3) -> Result<ObjectStore> {
    Ok(ObjectStore::new(S3Bucket::new(settings)?, &settings.prefix, settings.multipart))
}

/// A bucket, and how to sign for it.
struct S3Bucket {
    http: Http,
    bucket: rusty_s3::Bucket,
    credentials: Arc<Cached<Credentials>>,
    prefix: String,
    retention: Option<Retention>,
}

impl S3Bucket {
    fn new(settings: &S3) -> Result<Self> {
        let endpoint = settings.endpoint.parse().map_err(|error| {
            Error::Usage(format!("repository.s3.endpoint \"{}\": {error}", settings.endpoint))
        })?;
        let style = if settings.path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let (name, region) = (settings.bucket.clone(), settings.region.clone());
        let bucket = rusty_s3::Bucket::new(endpoint, style, name, region)
            .map_err(|error| Error::Usage(format!("repository.s3: {error}")))?;
        Ok(Self {
            // 409 is a conflict of two conditional requests, of which one may still win.
            http: Http::new(settings.timeout, |answer| busy(answer) || answer.status == 409),
            bucket,
            credentials: credentials::find(settings)?,
            prefix: bucket::clean_prefix(&settings.prefix),
            retention: settings.retention()?,
        })
    }

    /// Send a request that an action signs; `sign` gives the action's URL and what it signed.
    fn send<'a>(
        &self,
        key: &str,
        sign: &dyn Fn(&Credentials) -> Result<Request<'a>>,
    ) -> Result<Answer> {
        let keys = self.credentials.user();
        self.http.send(key, &|renew| sign(&keys.get(renew)?))
    }

    /// Headers of a new object that is to be locked, as of now.
    fn retained_headers(&self, how: Write) -> Vec<(&'static str, String)> {
        match &self.retention {
            Some(retention) if how == Write::Kept => retention.headers(),
            _ => Vec::new(),
        }
    }

    fn look(&self, key: &str) -> Result<Option<Answer>> {
        let answer = self.send(key, &|keys| {
            let url = self.bucket.head_object(Some(keys), key).sign(VALID);
            Ok(Request::new("HEAD", url))
        })?;
        match answer.status {
            200 => Ok(Some(answer)),
            404 => Ok(None),
            _ => Err(answer.refused("look at", key)),
        }
    }

    /// Remove one version, or what is there under the name.
    fn delete_version(&self, key: &str, version: Option<&str>) -> Result<()> {
        let answer = self.send(key, &|keys| {
            let mut action = self.bucket.delete_object(Some(keys), key);
            if let Some(version) = version {
                action.query_mut().insert("versionId", version.to_owned());
            }
            Ok(Request::new("DELETE", action.sign(VALID)))
        })?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(answer.refused("remove", key)),
        }
    }

    /// Remove many objects by one request; false when the store knows no such request.
    fn delete_batch(&self, keys: &[String]) -> Result<bool> {
        const DOING: &str = "remove objects such as";
        let Some(first) = keys.first() else { return Ok(true) };
        let objects: Vec<_> = keys.iter().cloned().map(ObjectIdentifier::new).collect();
        let answer = self.send(first, &|credentials| {
            let mut action = self.bucket.delete_objects(Some(credentials), objects.iter());
            action.set_quiet(true);
            let (body, digest) = action.clone().body_with_md5();
            action.headers_mut().insert("content-md5", digest.clone());
            let url = action.sign(VALID);
            Ok(Request::new("POST", url).header("content-md5", digest).body(body.into_bytes()))
        })?;
        match answer.status {
            200 => {}
            400 | 404 | 405 | 501 => return Ok(false),
            _ => return Err(answer.refused(DOING, first)),
        }
        let response = DeleteObjectsResponse::parse(&answer.text());
        let Ok(response) = response else { return Err(answer.refused(DOING, first)) };
        match response.errors.iter().find(|error| error.code != "NoSuchKey") {
            None => Ok(true),
            Some(error) => Err(Error::repository(format!("remove {}", error.key))(
                std::io::Error::other(error.code.clone()),
            )),
        }
    }
}

/// The digest that S3 compares with what arrived.
fn digest(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

impl Bucket for S3Bucket {
    fn describe(&self) -> String {
        format!("s3://{}/{}", self.bucket.name(), self.prefix)
    }

    fn endpoint(&self) -> String {
        self.bucket.base_url().to_string()
    }

    fn section(&self) -> &'static str {
        "repository.s3"
    }

    fn put(&self, key: &str, body: &[u8], how: Write) -> Result<Outcome> {
        let digest = digest(body);
        let answer = self.send(key, &|keys| {
            let mut action = self.bucket.put_object(Some(keys), key);
            let mut headers = self.retained_headers(how);
            headers.push(("content-md5", digest.clone()));
            if how != Write::Over {
                headers.push(("if-none-match", "*".to_owned()));
            }
            for (name, value) in &headers {
                action.headers_mut().insert(*name, value.clone());
            }
            Ok(Request { headers, ..Request::new("PUT", action.sign(VALID)).body(body) })
        })?;
        match answer.status {
            200..=299 => Ok(Outcome::Done),
            412 => Ok(Outcome::taken(&answer)),
            _ => Err(answer.refused("create", key)),
        }
    }

    fn get(&self, key: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Option<Vec<u8>>> {
        if range.is_some_and(|(start, end)| start >= end) {
            return Ok(Some(Vec::new()));
        }
        let answer = self.send(key, &|keys| {
            let url = self.bucket.get_object(Some(keys), key).sign(VALID);
            Ok(Request::new("GET", url).ranged(range, limit))
        })?;
        answer.content(key, range)
    }

    fn head(&self, key: &str) -> Result<Option<Head>> {
        let Some(answer) = self.look(key)? else { return Ok(None) };
        let Some(size) = answer.length() else { return Err(answer.refused("look at", key)) };
        let modified = answer.header("last-modified").and_then(bucket::http_time);
        let mark = answer.header(uploads::MARK_HEADER).map(str::to_owned);
        Ok(Some(Head { size, age: bucket::age(&answer, modified), mark }))
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.delete_version(key, None)
    }

    fn remove(&self, key: &str) -> Result<()> {
        if self.retention.is_none() {
            return self.delete(key);
        }
        // Removing by name would only hide what is locked, for ever.
        let Some(answer) = self.look(key)? else { return Ok(()) };
        match retention::locked(&answer) {
            Some(until) => Err(Error::Retained(format!("{key} is locked until {until}"))),
            None => self.delete_version(key, answer.header("x-amz-version-id")),
        }
    }

    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        let mut locked = Vec::new();
        for batch in keys.chunks(BATCH) {
            if self.retention.is_none() && batch.len() > 1 && self.delete_batch(batch)? {
                continue;
            }
            for key in batch {
                match self.remove(key) {
                    Err(Error::Retained(_)) => locked.push(key.clone()),
                    other => other?,
                }
            }
        }
        Ok(locked)
    }

    fn retained(&self, key: &str) -> Result<Option<String>> {
        if self.retention.is_none() {
            return Ok(None);
        }
        Ok(self.look(key)?.and_then(|answer| retention::locked(&answer)))
    }

    fn page(&self, prefix: &str, token: Option<&str>) -> Result<Page> {
        let answer = self.send(prefix, &|keys| {
            let mut action = self.bucket.list_objects_v2(Some(keys));
            action.with_prefix(prefix);
            action.with_delimiter("/");
            if let Some(token) = token {
                action.with_continuation_token(token);
            }
            Ok(Request::new("GET", action.sign(VALID)))
        })?;
        if answer.status != 200 {
            return Err(answer.refused("list", prefix));
        }
        let parsed = ListObjectsV2::parse_response(&answer.text()).map_err(|error| {
            Error::repository(format!("list {prefix}"))(std::io::Error::other(error.to_string()))
        })?;
        let keys = parsed.contents.into_iter().map(|object| object.key);
        let directories = parsed.common_prefixes.into_iter().map(|common| common.prefix);
        Ok(Page { names: keys.chain(directories).collect(), next: parsed.next_continuation_token })
    }

    fn begin(&self, key: &str, mark: &str, how: Write) -> Result<String> {
        self.begin_upload(key, mark, how)
    }

    fn part(&self, key: &str, upload: &str, number: u16, body: &[u8]) -> Result<String> {
        self.send_part(key, upload, number, body)
    }

    fn complete(&self, key: &str, upload: &str, parts: &[String], _mark: &str) -> Result<Outcome> {
        self.complete_upload(key, upload, parts)
    }

    fn abort(&self, key: &str, upload: &str) -> Result<()> {
        self.abort_upload(key, upload)
    }
}

#[cfg(test)]
mod tests {
    use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

    #[test]
    fn signatures_are_those_that_amazon_publishes() {
        // "Authenticating Requests: Using Query Parameters" of the S3 API Reference.
        let endpoint = "https://s3.amazonaws.com".parse().unwrap();
        let bucket =
            Bucket::new(endpoint, UrlStyle::VirtualHost, "examplebucket", "us-east-1").unwrap();
        let keys =
            Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let url = bucket.get_object(Some(&keys), "test.txt").sign_with_time(
            std::time::Duration::from_secs(86_400),
            &"2013-05-24T00:00:00Z".parse().unwrap(),
        );
        let signature = url.query_pairs().find(|(name, _)| name == "X-Amz-Signature").unwrap().1;
        assert_eq!(signature, "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    }
}
