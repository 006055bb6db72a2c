//! Large objects: sent in parts while they are written, so that memory is bounded, and made to
//! exist by one conditional request at the end.
//!
//! Until then nothing is visible under the name. An upload that fails is aborted; of a process that
//! dies the parts stay, unseen, until the bucket's rule for incomplete uploads removes them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rusty_s3::S3Action;
use rusty_s3::actions::CreateMultipartUpload;

use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::Created;
use crate::repo::s3::http::{Client, VALID, refused};

/// Size of a part. S3 allows 10000 of them, and none but the last below 5 MiB.
pub(super) const PART: usize = 8 << 20;

/// How many parts are under way while the next is filled.
const UNDER_WAY: usize = 2;

/// Header by which an upload is known again whose completion got no answer.
const MARK: &str = "x-amz-meta-walmgr-upload";

impl Client {
    /// Begin; the upload's id.
    fn begin_upload(&self, key: &str, mark: &str) -> Result<String> {
        let full = self.full(key);
        let mut action = self.bucket.create_multipart_upload(Some(&self.credentials), &full);
        action.headers_mut().insert(MARK, mark);
        let url = action.sign(VALID);
        let headers = [(MARK, mark.to_owned())];
        let answer = self.send("POST", url.as_str(), &headers, &[], key, None)?;
        let text = String::from_utf8_lossy(&answer.body);
        match CreateMultipartUpload::parse_response(&text) {
            Ok(response) if answer.status == 200 => Ok(response.upload_id().to_owned()),
            _ => Err(refused("begin upload of", key, &answer)),
        }
    }

    /// Send a part; its tag.
    fn send_part(&self, key: &str, upload: &str, number: u16, body: &[u8]) -> Result<String> {
        let full = self.full(key);
        let mut action = self.bucket.upload_part(Some(&self.credentials), &full, number, upload);
        let digest = STANDARD.encode(Md5::digest(body));
        action.headers_mut().insert("content-md5", digest.clone());
        let url = action.sign(VALID);
        let headers = [("content-md5", digest)];
        let answer = self.send("PUT", url.as_str(), &headers, body, key, None)?;
        match (answer.status, &answer.tag) {
            (200..=299, Some(tag)) => Ok(tag.clone()),
            _ => Err(refused("send a part of", key, &answer)),
        }
    }

    /// Make the object exist, unless its name is taken.
    fn complete_upload(
        &self,
        key: &str,
        upload: &str,
        tags: &[String],
        mark: &str,
    ) -> Result<Created> {
        let full = self.full(key);
        let mut action = self.bucket.complete_multipart_upload(
            Some(&self.credentials),
            &full,
            upload,
            tags.iter().map(String::as_str),
        );
        action.headers_mut().insert("if-none-match", "*");
        let url = action.sign(VALID);
        let headers = [("if-none-match", "*".to_owned())];
        let answer =
            self.send("POST", url.as_str(), &headers, action.body().as_bytes(), key, None)?;
        // The status may have been sent before the work was done: then the body says how it went.
        let failed = String::from_utf8_lossy(&answer.body).contains("<Error>");
        match answer.status {
            200 if !failed => Ok(Created::New),
            412 if !answer.after_loss => Ok(Created::Exists),
            // The first attempt may have worked: then the upload is gone, and the object has its
            // mark.
            404 | 412 if answer.after_loss => {
                let head = self.head(key)?;
                match (head.status, &head.mark) {
                    (200, Some(found)) if found == mark => Ok(Created::New),
                    (200, _) => Ok(Created::Exists),
                    _ => Err(refused("complete upload of", key, &answer)),
                }
            }
            _ => Err(refused("complete upload of", key, &answer)),
        }
    }

    fn abort_upload(&self, key: &str, upload: &str) -> Result<()> {
        let full = self.full(key);
        let url = self.bucket.abort_multipart_upload(Some(&self.credentials), &full, upload);
        let url = url.sign(VALID);
        let answer = self.send("DELETE", url.as_str(), &[], &[], key, None)?;
        match answer.status {
            200..=299 | 404 => Ok(()),
            _ => Err(refused("abort upload of", key, &answer)),
        }
    }
}

/// An object that is being written. A small one stays in memory, and is sent at once.
pub(super) struct Upload {
    client: Arc<Client>,
    key: String,
    mark: String,
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
    pub(super) fn new(client: &Arc<Client>, key: &str, mark: String) -> Self {
        Self {
            client: Arc::clone(client),
            key: key.to_owned(),
            mark,
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
            return self.client.put_new(&self.key, &self.first);
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
        let first = self.client.send_part(&self.key, &upload, 1, &self.first)?;
        let tags: Vec<String> = std::iter::once(first).chain(self.tags.drain(..)).collect();
        let created = self.client.complete_upload(&self.key, &upload, &tags, &self.mark)?;
        if created == Created::New {
            self.id = None;
        }
        Ok(created)
    }

    fn begun(&mut self) -> Result<String> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let id = self.client.begin_upload(&self.key, &self.mark)?;
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
        let (client, key) = (Arc::clone(&self.client), self.key.clone());
        self.under_way
            .push_back(std::thread::spawn(move || client.send_part(&key, &upload, number, &body)));
        Ok(())
    }
}

fn join(part: JoinHandle<Result<String>>) -> Result<String> {
    part.join().unwrap_or_else(|_| Err(Error::Failed("a sending thread panicked".to_owned())))
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let first_end = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        let count = if self.position < first_end {
            // Only what was written before can be written over.
            let at = usize::try_from(self.position).map_err(io::Error::other)?;
            let place = self.first.get_mut(at..).unwrap_or_default();
            let count = place.len().min(bytes.len());
            if let (Some(to), Some(from)) = (place.get_mut(..count), bytes.get(..count)) {
                to.copy_from_slice(from);
            }
            count
        } else {
            let to = if self.first.len() < PART { &mut self.first } else { &mut self.part };
            let count = (PART - to.len()).min(bytes.len());
            to.extend_from_slice(bytes.get(..count).unwrap_or_default());
            count
        };
        self.position += u64::try_from(count).unwrap_or(0);
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
        let first_end = u64::try_from(self.first.len()).unwrap_or(0);
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
            && let Err(error) = self.client.abort_upload(&self.key, &upload)
        {
            crate::log::warning(format_args!("parts of {} were left behind: {error}", self.key));
        }
    }
}
