//! What a store's protocol must offer, and what its answers mean.

use jiff::Timestamp;
use jiff::fmt::rfc2822;

use crate::error::{Error, Result};
use crate::repo::Created;
use crate::repo::object_store::http::Answer;
use crate::size::wide;

/// What an upload in parts is known again by whose completion got no answer.
pub(crate) const MARK: &str = "walmgr_upload";

/// How an object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Unless its name is taken, and locked for as long as the settings say.
    Kept,
    /// Unless its name is taken.
    New,
    /// Whether or not its name is taken. Only for leases.
    Over,
}

/// What became of a conditional request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was done.
    Done,
    /// The name is taken.
    Taken,
    /// The name is taken, maybe by an earlier attempt that got lost.
    TakenAfterLoss,
}

impl Outcome {
    /// For an answer by which the name is taken.
    pub(crate) fn taken(answer: &Answer) -> Self {
        if answer.after_loss { Self::TakenAfterLoss } else { Self::Taken }
    }
}

/// What is known of an object without its content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Seconds since it was written, by the store's clock.
    pub(crate) age: Option<i64>,
    /// What its upload in parts was marked with.
    pub(crate) mark: Option<String>,
}

/// A part of a list of names.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Full names; directories end in `/`.
    pub(crate) names: Vec<String>,
    /// What asks for the next part.
    pub(crate) next: Option<String>,
}

/// A bucket of one kind of store. Keys are full: with the prefix.
///
/// "Absent" is a 404 on an object and nothing else; what is neither yes nor no is an error.
pub(crate) trait Bucket: Send + Sync {
    /// The place, without keys.
    fn describe(&self) -> String;
    /// URL of the service, which may have another bucket of the same name than another service.
    fn endpoint(&self) -> String;
    /// The setting that turns parts off.
    fn section(&self) -> &'static str;
    /// Create an object.
    fn put(&self, key: &str, body: &[u8], how: Write) -> Result<Outcome>;
    /// Read an object, or a range of it (`start..end`), of at most so many bytes.
    fn get(&self, key: &str, range: Option<(u64, u64)>, limit: u64) -> Result<Option<Vec<u8>>>;
    /// Look at an object.
    fn head(&self, key: &str) -> Result<Option<Head>>;
    /// Free an object's name; it need not exist.
    fn delete(&self, key: &str) -> Result<()>;
    /// Remove an object and its content; it need not exist.
    ///
    /// # Errors
    /// [`Error::Retained`] while it is locked.
    fn remove(&self, key: &str) -> Result<()> {
        self.delete(key)
    }
    /// Remove several objects, each as by [`Bucket::remove`]; those that are locked, and stay.
    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        keys.iter().try_fold(Vec::new(), |mut locked, key| match self.remove(key) {
            Ok(()) => Ok(locked),
            Err(Error::Retained(_)) => {
                locked.push(key.clone());
                Ok(locked)
            }
            Err(error) => Err(error),
        })
    }
    /// Until when an object is locked, in words; `None` for one that is not.
    fn retained(&self, _key: &str) -> Result<Option<String>> {
        Ok(None)
    }
    /// A part of the names below a prefix, up to the next `/`.
    fn page(&self, prefix: &str, token: Option<&str>) -> Result<Page>;
    /// Begin an upload in parts; its id.
    fn begin(&self, key: &str, mark: &str, how: Write) -> Result<String>;
    /// Send a part; what [`Bucket::complete`] calls it. No part is visible under the key.
    fn part(&self, key: &str, upload: &str, number: u16, body: &[u8]) -> Result<String>;
    /// Make the object exist of its parts, unless its name is taken.
    fn complete(&self, key: &str, upload: &str, parts: &[String], mark: &str) -> Result<Outcome>;
    /// Remove what was sent of an upload.
    fn abort(&self, key: &str, upload: &str) -> Result<()>;
}

/// Create an object unless its name is taken. A create whose first attempt got lost may have
/// worked: then what is there is compared with what was sent.
pub(crate) fn put_new(bucket: &dyn Bucket, key: &str, body: &[u8], how: Write) -> Result<Created> {
    match bucket.put(key, body, how)? {
        Outcome::Done => Ok(Created::New),
        Outcome::Taken => Ok(Created::Exists),
        Outcome::TakenAfterLoss => {
            let length = wide(body.len());
            // One that is longer is not what was sent.
            let ours = bucket.head(key)?.is_some_and(|head| head.size == length)
                && bucket.get(key, None, length)?.is_some_and(|bytes| bytes == body);
            Ok(if ours { Created::New } else { Created::Exists })
        }
    }
}

/// Make an object exist of its parts. Whether it was an attempt that got lost shows its mark.
pub(crate) fn complete_new(
    bucket: &dyn Bucket,
    key: &str,
    upload: &str,
    parts: &[String],
    mark: &str,
) -> Result<Created> {
    match bucket.complete(key, upload, parts, mark)? {
        Outcome::Done => Ok(Created::New),
        Outcome::Taken => Ok(Created::Exists),
        Outcome::TakenAfterLoss => match bucket.head(key)? {
            Some(head) if head.mark.as_deref() == Some(mark) => Ok(Created::New),
            Some(_) => Ok(Created::Exists),
            None => Err(Error::repository(format!("complete upload of {key}"))(
                std::io::Error::other("the store has neither the upload nor the object"),
            )),
        },
    }
}

/// Names directly below a prefix that ends in `/`, sorted; directories end in `/`.
pub(crate) fn list(bucket: &dyn Bucket, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = bucket.page(prefix, token.as_deref())?;
        names.extend(
            page.names
                .iter()
                .filter_map(|key| key.strip_prefix(prefix))
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        );
        // A store that sends the same token again would never end.
        if page.next.is_some() && page.next == token {
            return Err(Error::repository(format!("list {prefix}"))(std::io::Error::other(
                "the store repeats itself",
            )));
        }
        token = page.next;
        if token.is_none() {
            names.sort_unstable();
            names.dedup();
            return Ok(names);
        }
    }
}

/// Seconds from an object's time to the answer's.
pub(crate) fn age(answer: &Answer, modified: Option<i64>) -> Option<i64> {
    Some(http_time(answer.header("date")?)? - modified?)
}

/// A time as HTTP has it.
pub(crate) fn http_time(text: &str) -> Option<i64> {
    Some(rfc2822::parse(text).ok()?.timestamp().as_second())
}

/// A time as HTTP has it, from the clock.
pub(crate) fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Percent-encode a path of a URL; `/` stays.
pub(crate) fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Percent-encode a value of a URL.
pub(crate) fn encode(value: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const RESERVED: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(value, RESERVED).to_string()
}

/// A prefix as it stands before keys: nothing, or with one `/` at the end.
pub(crate) fn clean_prefix(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}
