//! Large objects: sent in parts while they are written, so that memory is bounded, and made to
//! exist by one conditional request at the end.
//!
//! Until then nothing is visible under the name. An upload that fails is aborted; of a process that
//! dies the parts stay, unseen, until the bucket's rule for incomplete uploads removes them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::Created;
use crate::repo::object_store::bucket::{Bucket, Write as How, complete_new, put_new};
use crate::size::wide;

/// Size of a part. S3 allows 10000 of them, and none but the last below 5 MiB.
pub(super) const PART: usize = 8 << 20;

/// How many parts are under way while the next is filled.
const UNDER_WAY: usize = 2;

/// An object that is being written. A small one stays in memory, and is sent at once.
pub(super) struct Upload {
    bucket: Arc<dyn Bucket>,
    key: String,
    mark: String,
    how: How,
    id: Option<String>,
    /// The first part, which stays here to the end: headers are written last.
    first: Vec<u8>,
    /// The part that is filled now.
    part: Vec<u8>,
    /// Next number to give to a part.
    number: u16,
    /// Threads that send parts, oldest first.
    under_way: VecDeque<JoinHandle<Result<String>>>,
    /// Tags of parts from the second on.
    tags: Vec<String>,
    position: u64,
    end: u64,
}

impl Upload {
    /// Nothing is sent yet. The mark tells this upload from all others.
    pub(super) fn new(bucket: &Arc<dyn Bucket>, key: &str, mark: String, how: How) -> Self {
        Self {
            bucket: Arc::clone(bucket),
            key: key.to_owned(),
            mark,
            how,
            id: None,
            first: Vec::new(),
            part: Vec::new(),
            number: 2,
            under_way: VecDeque::new(),
            tags: Vec::new(),
            position: 0,
            end: 0,
        }
    }

    /// Send what remains and make the object exist, unless its name is taken.
    pub(super) fn finish(mut self) -> Result<Created> {
        if self.id.is_none() && self.part.is_empty() {
            return put_new(self.bucket.as_ref(), &self.key, &self.first, self.how);
        }
        self.finish_parts()
    }

    /// The same, in parts however small it is.
    pub(super) fn finish_parts(&mut self) -> Result<Created> {
        if !self.part.is_empty() {
            self.send()?;
        }
        while let Some(part) = self.under_way.pop_front() {
            self.tags.push(join(part)?);
        }
        let upload = self.begun()?;
        let first = self.bucket.part(&self.key, &upload, 1, &self.first)?;
        let tags: Vec<String> = std::iter::once(first).chain(self.tags.drain(..)).collect();
        let created = complete_new(self.bucket.as_ref(), &self.key, &upload, &tags, &self.mark)?;
        if created == Created::New {
            self.id = None;
        }
        Ok(created)
    }

    fn begun(&mut self) -> Result<String> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let id = self.bucket.begin(&self.key, &self.mark, self.how)?;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Send the part that is full.
    fn send(&mut self) -> Result<()> {
        let upload = self.begun()?;
        while self.under_way.len() >= UNDER_WAY {
            if let Some(oldest) = self.under_way.pop_front() {
                self.tags.push(join(oldest)?);
            }
        }
        failpoint::visit("store.part").map_err(Error::repository(format!("write {}", self.key)))?;
        let number = self.number;
        self.number = number.checked_add(1).filter(|next| *next <= 10_000).ok_or_else(|| {
            Error::Failed(format!("object {} is too large for an object store", self.key))
        })?;
        let body = std::mem::take(&mut self.part);
        let (bucket, key) = (Arc::clone(&self.bucket), self.key.clone());
        self.under_way
            .push_back(std::thread::spawn(move || bucket.part(&key, &upload, number, &body)));
        Ok(())
    }
}

fn join(part: JoinHandle<Result<String>>) -> Result<String> {
    part.join().unwrap_or_else(|_| Err(Error::Failed("a sending thread panicked".to_owned())))
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first_end = wide(self.first.len());
        let count = if self.position < first_end {
            // Only what was written before can be written over.
            let at = usize::try_from(self.position).map_err(io::Error::other)?;
            let place = self.first.get_mut(at..).expect("it is before the end");
            let count = place.len().min(bytes.len());
            if let (Some(to), Some(from)) = (place.get_mut(..count), bytes.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        } else {
            let to = if self.first.len() < PART { &mut self.first } else { &mut self.part };
            let count = (PART - to.len()).min(bytes.len());
            to.extend_from_slice(bytes.get(..count).expect("no more than there are"));
            count
        };
        self.position += wide(count);
        self.end = self.end.max(self.position);
        if self.part.len() == PART {
            self.send().map_err(io::Error::other)?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Upload {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
        };
        let first_end = wide(self.first.len());
        let target = target
            .filter(|target| *target < first_end || *target == self.end)
            .ok_or(ErrorKind::InvalidInput)?;
        self.position = target;
        Ok(target)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A part that arrives after the abort would stay.
        for part in self.under_way.drain(..) {
            let _ = join(part);
        }
        if let Some(upload) = self.id.take()
            && let Err(error) = self.bucket.abort(&self.key, &upload)
        {
            crate::log::warning(format_args!("parts of {} were left behind: {error}", self.key));
        }
    }
}
