//! A repository in an S3-compatible object store.
//!
//! Objects are created with `If-None-Match: *`, so that here too a name keeps its first content; a
//! store that does not honour that is refused at `setup`. Blocking requests, no runtime: a push
//! starts as fast as with a directory.

mod http;
mod lease;
mod multipart;

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::S3;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{Created, Fill, Lock, LockMode, SMALL, Source, Store, check_key, create_small};

use http::Client;
use multipart::Upload;

const MARKER: &str = "walmgr.repo";
const MARKER_TEXT: &str = "{\"format\":1}\n";

/// How much is read from an object at a time, and how many such blocks are kept.
const BLOCK: u64 = 4 << 20;
const BLOCKS: usize = 4;

/// The largest object that is ever set aside: a WAL segment, stored as it is.
const LARGEST: u64 = (1 << 30) + 4096;

/// A bucket, or a part of one, with the marker object in it.
pub(crate) struct S3Store {
    client: Arc<Client>,
    multipart: bool,
}

impl S3Store {
    /// Open a repository.
    ///
    /// # Errors
    /// [`Error::Repository`] when the store does not answer, or the marker is not there.
    pub(crate) fn open(settings: &S3) -> Result<Self> {
        let store = Self::new(settings)?;
        match store.client.get_whole(MARKER, SMALL)? {
            Some(text) if text == MARKER_TEXT.as_bytes() => Ok(store),
            Some(_) => Err(Error::Usage(format!(
                "{} has a format that this walmgr does not know",
                store.describe()
            ))),
            None => Err(Error::repository(format!("{} is not a repository", store.describe()))(
                rustix::io::Errno::NOENT,
            )),
        }
    }

    /// Make the place a repository, or open the one that is there.
    ///
    /// # Errors
    /// [`Error::Usage`] for a place that has other objects, or a store that overwrites where it was
    /// told not to.
    pub(crate) fn init(settings: &S3) -> Result<Self> {
        let store = Self::new(settings)?;
        if store.client.get_whole(MARKER, SMALL)?.is_none() {
            if let Some(name) = store.list("")?.first() {
                return Err(Error::Usage(format!(
                    "{} is not empty (it has \"{name}\") and not a repository",
                    store.describe()
                )));
            }
            create_small(&store, MARKER, MARKER_TEXT.as_bytes())?;
        }
        if store.client.put_new(MARKER, b"overwritten")? == Created::New {
            store.client.delete(MARKER)?;
            return Err(Error::Usage(format!(
                "{} ignores If-None-Match, so it cannot keep an archive",
                store.describe()
            )));
        }
        if store.multipart {
            store.probe_multipart()?;
        }
        Self::open(settings)
    }

    fn new(settings: &S3) -> Result<Self> {
        Ok(Self { client: Arc::new(Client::new(settings)?), multipart: settings.multipart })
    }

    /// Refuse a store that overwrites when an upload is completed, or knows no uploads in parts.
    fn probe_multipart(&self) -> Result<()> {
        const PROBE: &str = "walmgr.probe";
        self.client.put_new(PROBE, b"kept")?;
        let mut upload = self.upload(PROBE);
        let outcome = upload.write_all(b"overwritten").map_err(Error::repository(PROBE));
        let outcome = outcome.and_then(|()| upload.finish_parts());
        drop(upload);
        self.client.delete(PROBE)?;
        let why = match outcome {
            Ok(Created::Exists) => return Ok(()),
            Ok(Created::New) => "it overwrites what is there".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::Usage(format!(
            "{} does not complete uploads in parts as it must ({why}): set repository.s3.multipart = false",
            self.describe()
        )))
    }

    fn upload(&self, key: &str) -> Upload {
        Upload::new(&self.client, key, lease::own_name())
    }
}

impl Store for S3Store {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        check_key(key)?;
        let step =
            |name: &str| failpoint::visit(name).map_err(Error::repository(format!("write {key}")));
        step("store.opened")?;
        let created = if self.multipart {
            let mut upload = self.upload(key);
            fill(&mut upload)?;
            step("store.written")?;
            upload.finish()?
        } else {
            let mut body = Cursor::new(Vec::new());
            fill(&mut body)?;
            step("store.written")?;
            self.client.put_new(key, body.get_ref())?
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
        let Some(size) = self.client.size(key)? else { return Ok(None) };
        let client = Arc::clone(&self.client);
        let blocks = Mutex::new(VecDeque::new());
        Ok(Some(Box::new(S3Source { client, key: key.to_owned(), size, blocks })))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.client.list(directory)
    }

    fn remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.client.delete(key)?;
        failpoint::visit("store.removed").map_err(Error::repository(format!("remove {key}")))
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let bytes = self.client.get_whole(key, LARGEST)?.unwrap_or_default();
        for number in 0..1000 {
            if self.client.put_new(&format!("{key}.damaged{number}"), &bytes)? == Created::New {
                return self.client.delete(key);
            }
        }
        Err(Error::repository(format!("set {key} aside"))(rustix::io::Errno::EXIST))
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        check_key(key)?;
        Ok(Box::new(lease::Lease::take(&self.client, key, mode)?))
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
        self.client.describe()
    }
}

type Block = (u64, Arc<Vec<u8>>);

struct S3Source {
    client: Arc<Client>,
    key: String,
    size: u64,
    blocks: Mutex<VecDeque<Block>>,
}

impl S3Source {
    fn block(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = blocks.iter().find(|(other, _)| *other == number) {
            return Ok(Arc::clone(block));
        }
        let start = number * BLOCK;
        let end = self.size.min(start + BLOCK);
        let bytes = self.client.get(&self.key, (start, end))?.ok_or_else(|| {
            Error::Corrupt(format!("object {} vanished while it was read", self.key))
        })?;
        let block = Arc::new(bytes);
        blocks.push_back((number, Arc::clone(&block)));
        if blocks.len() > BLOCKS {
            blocks.pop_front();
        }
        Ok(block)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if offset >= self.size {
            return Ok(0);
        }
        let block = self.block(offset / BLOCK)?;
        let within = usize::try_from(offset % BLOCK).unwrap_or(usize::MAX);
        let bytes = block.get(within..).unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl Source for S3Source {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            let count = self.read_at(rest, offset + u64::try_from(filled).unwrap_or(0))?;
            if count == 0 {
                return Err(Error::Corrupt(format!("object {} is cut short", self.key)));
            }
            filled += count;
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        Box::new(Reader { source: self, offset: 0 })
    }
}

struct Reader<'a> {
    source: &'a S3Source,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(buffer, self.offset).map_err(io::Error::other)?;
        self.offset += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }
}
