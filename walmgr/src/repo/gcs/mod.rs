//! Google Cloud Storage, by its JSON API.
//!
//! Its uploads in parts know no conditions. So parts are objects of their own, in
//! `walmgr.parts/`, that one conditional request composes at the end.

mod credentials;
pub(crate) mod settings;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::repo::PARTS;
use crate::repo::object_store::ObjectStore;
use crate::repo::object_store::bucket::{self, Bucket, Head, MARK, Outcome, Page, Write, encode};
use crate::repo::object_store::credentials::Cached;
use crate::repo::object_store::http::{Answer, Http, Request, busy};

use settings::Gcs;

/// How many objects one request may compose.
const AT_ONCE: usize = 32;

/// A store at the place that the settings name; nothing is sent yet.
///
/// # Errors
/// [`Error::Usage`] for missing credentials.
pub(crate) fn store(settings: &Gcs) -> Result<ObjectStore> {
    let bucket = GcsBucket {
        http: Http::new(settings.timeout, busy),
        endpoint: settings.endpoint.trim_end_matches('/').to_owned(),
        name: settings.bucket.clone(),
        token: credentials::find(settings)?,
        prefix: bucket::clean_prefix(&settings.prefix),
    };
    Ok(ObjectStore::new(bucket, &settings.prefix, settings.multipart))
}

/// A bucket, and whose it is.
struct GcsBucket {
    http: Http,
    endpoint: String,
    name: String,
    token: Arc<Cached<String>>,
    prefix: String,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    #[serde(default)]
    size: String,
    #[serde(default)]
    updated: String,
    #[serde(default)]
    metadata: std::collections::BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Listing {
    items: Vec<Object>,
    prefixes: Vec<String>,
    next_page_token: Option<String>,
}

impl GcsBucket {
    fn send<'a>(&self, key: &str, make: &dyn Fn() -> Request<'a>) -> Result<Answer> {
        let tokens = self.token.user();
        self.http.send(key, &|renew| {
            let token = tokens.get(renew)?;
            Ok(make().header("authorization", format!("Bearer {token}")))
        })
    }

    fn url(&self, key: &str, rest: &str) -> String {
        format!("{}/storage/v1/b/{}/o/{}{rest}", self.endpoint, encode(&self.name), encode(key))
    }

    fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer, doing: &str, key: &str) -> Result<T> {
        if answer.status != 200 {
            return Err(answer.refused(doing, key));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::repository(format!("{doing} {key}"))(std::io::Error::other(error.to_string()))
        })
    }

    /// Make an object of others.
    fn compose(&self, key: &str, parts: &[String], mark: &str, new: bool) -> Result<Outcome> {
        let condition = if new { "?ifGenerationMatch=0" } else { "" };
        let url = self.url(key, &format!("/compose{condition}"));
        let sources: Vec<_> =
            parts.iter().map(|name| serde_json::json!({ "name": name })).collect();
        let body = serde_json::json!({
            "sourceObjects": sources,
            "destination": { "contentType": BYTES, "metadata": { MARK: mark } },
        });
        let body = body.to_string();
        let answer = self.send(key, &|| {
            Request::new("POST", url.as_str())
                .header("content-type", "application/json")
                .body(body.as_bytes())
        })?;
        match answer.status {
            200..=299 => Ok(Outcome::Done),
            412 => Ok(Outcome::taken(&answer)),
            _ => Err(answer.refused("complete upload of", key)),
        }
    }

    fn part_name(&self, upload: &str, level: usize, number: usize) -> String {
        format!("{}{PARTS}/{upload}/{level}-{number:05}", self.prefix)
    }

    /// Remove what is left of an upload. What stays is no harm but costs.
    fn clean(&self, upload: &str) -> Result<()> {
        let directory = format!("{}{PARTS}/{upload}/", self.prefix);
        for name in bucket::list(self, &directory)? {
            self.delete(&format!("{directory}{name}"))?;
        }
        Ok(())
    }
}

const BYTES: &str = "application/octet-stream";

impl Bucket for GcsBucket {
    fn describe(&self) -> String {
        format!("gs://{}/{}", self.name, self.prefix)
    }

    fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    fn section(&self) -> &'static str {
        "repository.gcs"
    }

    fn put(&self, key: &str, body: &[u8], how: Write) -> Result<Outcome> {
        let condition = if how == Write::Over { "" } else { "&ifGenerationMatch=0" };
        let url = format!(
            "{}/upload/storage/v1/b/{}/o?uploadType=multipart{condition}",
            self.endpoint,
            encode(&self.name)
        );
        // With the digest, by which the store refuses what did not arrive whole.
        let digest = Md5::digest(body);
        let about = serde_json::json!({ "name": key, "md5Hash": STANDARD.encode(digest) });
        // No content has its own digest as a line of it.
        let boundary: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut whole = format!(
            "--{boundary}\r\ncontent-type: application/json\r\n\r\n{about}\r\n\
             --{boundary}\r\ncontent-type: {BYTES}\r\n\r\n"
        )
        .into_bytes();
        whole.extend(body);
        whole.extend(format!("\r\n--{boundary}--\r\n").as_bytes());
        let answer = self.send(key, &|| {
            Request::new("POST", url.as_str())
                .header("content-type", format!("multipart/related; boundary={boundary}"))
                .body(whole.as_slice())
        })?;
        match answer.status {
            200..=299 => Ok(Outcome::Done),
            412 if how != Write::Over => Ok(Outcome::taken(&answer)),
            _ => Err(answer.refused("create", key)),
        }
    }

    fn get(&self, key: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Option<Vec<u8>>> {
        if range.is_some_and(|(start, end)| start >= end) {
            return Ok(Some(Vec::new()));
        }
        let url = self.url(key, "?alt=media");
        let answer = self.send(key, &|| Request::new("GET", url.as_str()).ranged(range, limit))?;
        answer.content(key, range)
    }

    fn head(&self, key: &str) -> Result<Option<Head>> {
        const DOING: &str = "look at";
        let url = self.url(key, "");
        let answer = self.send(key, &|| Request::new("GET", url.as_str()))?;
        if answer.status == 404 {
            return Ok(None);
        }
        let object: Object = Self::parse(&answer, DOING, key)?;
        let Ok(size) = object.size.parse() else { return Err(answer.refused(DOING, key)) };
        let updated = object.updated.parse::<Timestamp>().ok().map(Timestamp::as_second);
        let mark = object.metadata.get(MARK).cloned();
        Ok(Some(Head { size, age: bucket::age(&answer, updated), mark }))
    }

    fn delete(&self, key: &str) -> Result<()> {
        let url = self.url(key, "");
        let answer = self.send(key, &|| Request::new("DELETE", url.as_str()))?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(answer.refused("remove", key)),
        }
    }

    fn page(&self, prefix: &str, token: Option<&str>) -> Result<Page> {
        let token = token.map(|token| format!("&pageToken={}", encode(token)));
        let url = format!(
            "{}/storage/v1/b/{}/o?delimiter=%2F&prefix={}{}",
            self.endpoint,
            encode(&self.name),
            encode(prefix),
            token.unwrap_or_default()
        );
        let answer = self.send(prefix, &|| Request::new("GET", url.as_str()))?;
        let listing: Listing = Self::parse(&answer, "list", prefix)?;
        let names = listing.items.into_iter().map(|object| object.name);
        Ok(Page { names: names.chain(listing.prefixes).collect(), next: listing.next_page_token })
    }

    fn begin(&self, _key: &str, mark: &str, _how: Write) -> Result<String> {
        Ok(mark.to_owned())
    }

    fn part(&self, _key: &str, upload: &str, number: u16, body: &[u8]) -> Result<String> {
        let name = self.part_name(upload, 0, usize::from(number));
        // Nobody else has this name, so that an attempt that got lost may be repeated.
        self.put(&name, body, Write::Over)?;
        Ok(name)
    }

    fn complete(&self, key: &str, upload: &str, parts: &[String], mark: &str) -> Result<Outcome> {
        let mut parts = parts.to_vec();
        let mut level = 1;
        while parts.len() > AT_ONCE {
            let joined = parts.chunks(AT_ONCE).enumerate().map(|(number, some)| {
                let name = self.part_name(upload, level, number);
                self.compose(&name, some, mark, false)?;
                Ok(name)
            });
            parts = joined.collect::<Result<_>>()?;
            level += 1;
        }
        let outcome = self.compose(key, &parts, mark, true)?;
        if let Err(error) = self.clean(upload) {
            crate::log::warning(format_args!("parts of {key} were left behind: {error}"));
        }
        Ok(outcome)
    }

    fn abort(&self, _key: &str, upload: &str) -> Result<()> {
        self.clean(upload)
    }
}
