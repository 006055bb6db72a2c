//! A repository in an object store: what S3, GCS and Azure Blob have in common.
//!
//! [`bucket::Bucket`] is what each protocol offers, [`http`] how requests are sent, and here is the
//! [`Store`] of both: objects are created on condition that there is none of their name, so a name
//! keeps its first content; a store that does not honour that is refused at `setup`. Blocking
//! requests, no runtime: a push starts as fast as with a directory.
//!
//! Why no crate that has all three: `object_store` 0.14 completes an upload in parts without any
//! condition (`PutMultipartOptions` has none), which overwrites; it follows redirects; it sets no
//! retention; and it brings tokio, hyper and reqwest, 171 crates instead of none.

pub(crate) mod bucket;
pub(crate) mod credentials;
pub(crate) mod http;
mod lease;
mod source;
pub(crate) mod token;
mod upload;

use std::io::{Cursor, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{
    Created, Fill, Lock, LockMode, PARTS, SMALL, Source, Store, check_key, create_small,
};

use bucket::{Bucket, Write as How, put_new};
use source::ObjectSource;
use upload::Upload;

const MARKER: &str = "walmgr.repo";
const MARKER_TEXT: &str = "{\"format\":1}\n";

/// The largest object that is ever set aside: a WAL segment, stored as it is.
const LARGEST: u64 = (1 << 30) + 4096;

/// A bucket, or a part of one, with the marker object in it.
pub(crate) struct ObjectStore {
    bucket: Arc<dyn Bucket>,
    prefix: String,
    multipart: bool,
}

impl ObjectStore {
    /// A store that was not looked at yet.
    pub(crate) fn new(bucket: impl Bucket + 'static, prefix: &str, multipart: bool) -> Self {
        Self { bucket: Arc::new(bucket), prefix: bucket::clean_prefix(prefix), multipart }
    }

    /// Open a repository.
    ///
    /// # Errors
    /// [`Error::Repository`] when the store does not answer, or the marker is not there.
    pub(crate) fn open(self) -> Result<Self> {
        match self.bucket.get(&self.full(MARKER), None, SMALL)? {
            Some(text) if text == MARKER_TEXT.as_bytes() => Ok(self),
            Some(_) => Err(Error::Usage(format!(
                "{} has a format that this walmgr does not know",
                self.describe()
            ))),
            None => Err(Error::repository(format!("{} is not a repository", self.describe()))(
                rustix::io::Errno::NOENT,
            )),
        }
    }

    /// Make the place a repository, or open the one that is there.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place that has other objects, or a store that overwrites where it was
    /// told not to.
    pub(crate) fn init(self) -> Result<Self> {
        let marker = self.full(MARKER);
        if self.bucket.get(&marker, None, SMALL)?.is_none() {
            let is_left = |name: &str| name.strip_suffix('/') == Some(PARTS);
            if let Some(name) = self.list("")?.iter().find(|name| !is_left(name)) {
                return Err(Error::Usage(format!(
                    "{} is not empty (it has \"{name}\") and not a repository",
                    self.describe()
                )));
            }
            create_small(&self, MARKER, MARKER_TEXT.as_bytes())?;
        }
        if put_new(self.bucket.as_ref(), &marker, b"overwritten", How::New)? == Created::New {
            self.bucket.delete(&marker)?;
            return Err(Error::Usage(format!(
                "{} ignores conditions, so it cannot keep an archive",
                self.describe()
            )));
        }
        if self.multipart {
            self.probe_multipart()?;
        }
        self.open()
    }

    /// Refuse a store that overwrites when an upload is completed, or knows no uploads in parts.
    fn probe_multipart(&self) -> Result<()> {
        let probe = self.full("walmgr.probe");
        put_new(self.bucket.as_ref(), &probe, b"kept", How::New)?;
        let mut upload = self.upload(&probe, How::New);
        let outcome = upload.write_all(b"overwritten").map_err(Error::repository(&probe));
        let outcome = outcome.and_then(|()| upload.finish_parts());
        drop(upload);
        self.bucket.delete(&probe)?;
        let why = match outcome {
            Ok(Created::Exists) => return Ok(()),
            Ok(Created::New) => "it overwrites what is there".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::Usage(format!(
            "{} does not complete uploads in parts as it must ({why}): set {}.multipart = false",
            self.describe(),
            self.bucket.section()
        )))
    }

    fn upload(&self, full: &str, how: How) -> Upload {
        Upload::new(&self.bucket, full, lease::own_name(), how)
    }

    /// The key with the prefix.
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// How an object is written: what only marks another one is never locked, since a mark must go with
/// the operator's change of mind.
fn how(key: &str) -> How {
    let name = key.rsplit('/').next().unwrap_or(key);
    let is_mark =
        key.contains("/backup/") && !name.ends_with(".json") && !name.ends_with(".manifest");
    if is_mark || name == MARKER { How::New } else { How::Kept }
}

impl Store for ObjectStore {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        check_key(key)?;
        let full = self.full(key);
        let step =
            |name: &str| failpoint::visit(name).map_err(Error::repository(format!("create {key}")));
        let created = if self.multipart {
            let mut upload = self.upload(&full, how(key));
            fill(&mut upload)?;
            step("store.written")?;
            upload.finish()?
        } else {
            let mut body = Cursor::new(Vec::new());
            fill(&mut body)?;
            step("store.written")?;
            put_new(self.bucket.as_ref(), &full, body.get_ref(), how(key))?
        };
        step("store.durable")?;
        Ok(created)
    }

    fn settle(&self, _key: &str) -> Result<()> {
        // What the store has acknowledged, or shows to others, is durable.
        Ok(())
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>> {
        check_key(key)?;
        let full = self.full(key);
        let Some(head) = self.bucket.head(&full)? else { return Ok(None) };
        Ok(Some(Box::new(ObjectSource::new(Arc::clone(&self.bucket), full, head.size))))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let prefix = match directory {
            "" => self.prefix.clone(),
            _ => format!("{}{directory}/", self.prefix),
        };
        bucket::list(self.bucket.as_ref(), &prefix)
    }

    fn remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.bucket.remove(&self.full(key))?;
        failpoint::visit("store.removed").map_err(Error::repository(format!("remove {key}")))
    }

    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let full: Vec<_> = keys.iter().map(|key| self.full(key)).collect();
        let locked = self.bucket.remove_all(&full)?;
        failpoint::visit("store.removed").map_err(Error::repository("remove objects"))?;
        let short = |key: String| key.strip_prefix(&self.prefix).unwrap_or(&key).to_owned();
        Ok(locked.into_iter().map(short).collect())
    }

    fn retained(&self, key: &str) -> Result<Option<String>> {
        check_key(key)?;
        self.bucket.retained(&self.full(key))
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let full = self.full(key);
        let Some(bytes) = self.bucket.get(&full, None, LARGEST)? else { return Ok(()) };
        for number in 0..1000 {
            let aside = format!("{full}.damaged{number}");
            if put_new(self.bucket.as_ref(), &aside, &bytes, How::New)? == Created::New {
                // Of a locked object the content stays, without a name.
                return self.bucket.delete(&full);
            }
        }
        Err(Error::repository(format!("set {key} aside"))(rustix::io::Errno::EXIST))
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        check_key(key)?;
        Ok(Box::new(lease::Lease::take(&self.bucket, &self.full(key), mode)?))
    }

    fn sweep(&self, _directory: &str, _age: Duration) -> Result<Vec<String>> {
        // An object is there whole or not at all.
        Ok(Vec::new())
    }

    fn pack_size(&self) -> u64 {
        // Without parts, a pack is in memory until it is sent.
        if self.multipart { 256 << 20 } else { 32 << 20 }
    }

    fn describe(&self) -> String {
        self.bucket.describe()
    }

    fn identity(&self) -> String {
        format!("{} {}", self.bucket.endpoint(), self.bucket.describe())
    }
}
