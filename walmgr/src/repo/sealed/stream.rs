//! The form of a sealed object: a header, then the content in chunks, each authenticated.
//!
//! AES-256-GCM in the STREAM construction (`aead-stream`) under a key of the object's own: HKDF of
//! the repository's key, a random salt, and the object's name. So no nonce is used twice, a chunk
//! fits no other place, an object no other name, and the last chunk says that it is the last.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use aead_stream::{NewStream, Nonce, StreamBE32, StreamPrimitive};
use aes_gcm::{Aes256Gcm, KeyInit};

use super::master::Master;
use crate::error::{Error, Result};
use crate::repo::{Sink, Source};
use crate::size::{narrow, wide};

/// What a sealed object begins with.
pub(crate) const MAGIC: &[u8; 8] = b"WALMGRE1";
/// Magic, identity of the repository's key, salt, CRC-32C of these.
pub(super) const HEADER: usize = 8 + 8 + 32 + 4;
/// Content of a chunk, but for the last.
pub(super) const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
const SEALED: usize = CHUNK + TAG;
/// What is read and opened at a time.
const BATCH: u64 = 16;

/// The chunks of an object of some size.
#[derive(Clone, Copy, Debug)]
struct Layout {
    chunks: u64,
    plain: u64,
    stored: u64,
}

impl Layout {
    /// That of an object with this many bytes in the store; `None` if there can be none.
    fn of(stored: u64) -> Option<Self> {
        let (header, sealed, tag) = (wide(HEADER), wide(SEALED), wide(TAG));
        let body = stored.checked_sub(header)?;
        let chunks = body.div_ceil(sealed).max(1);
        let last = body - (chunks - 1) * sealed;
        // Only the whole content may be empty, never a chunk behind others.
        let least = if chunks == 1 { tag } else { tag + 1 };
        let fits = last >= least && chunks <= u64::from(u32::MAX);
        fits.then(|| Self { chunks, plain: body - chunks * tag, stored })
    }

    fn start(chunk: u64) -> u64 {
        wide(HEADER) + chunk * wide(SEALED)
    }

    fn end(self, chunk: u64) -> u64 {
        Self::start(chunk + 1).min(self.stored)
    }
}

/// Seals and opens the chunks of one object.
struct Cipher {
    header: [u8; HEADER],
    stream: StreamBE32<Aes256Gcm>,
}

impl Cipher {
    fn new(master: &Master, name: &str) -> Result<Self> {
        let mut header = [0; HEADER];
        let (head, crc) = header.split_at_mut(HEADER - 4);
        let (magic, rest) = head.split_at_mut(8);
        let (id, salt) = rest.split_at_mut(8);
        magic.copy_from_slice(MAGIC);
        id.copy_from_slice(&master.id());
        super::master::random(salt)?;
        crc.copy_from_slice(&crc32c::crc32c(head).to_le_bytes());
        Ok(Self::with(master, name, header))
    }

    fn with(master: &Master, name: &str, header: [u8; HEADER]) -> Self {
        let salt = &header[16..48];
        let key = master.object_key(salt, name);
        let aead = Aes256Gcm::new((&*key).into());
        // The key is used for this one stream, so the nonce of the stream may be the same for all.
        let nonce = Nonce::<Aes256Gcm, StreamBE32<Aes256Gcm>>::default();
        Self { header, stream: StreamBE32::from_aead(aead, &nonce) }
    }

    /// Take a header that was read.
    fn open(master: &Master, name: &str, header: [u8; HEADER]) -> Result<Self> {
        let (head, crc) = header.split_at(HEADER - 4);
        if !head.starts_with(MAGIC) {
            return Err(Error::Corrupt(format!(
                "object {name} is not encrypted as the rest of the repository is: it is damaged, or \
                 somebody else put it there"
            )));
        }
        if crc != crc32c::crc32c(head).to_le_bytes() {
            return Err(Error::Corrupt(format!("object {name} is damaged: its header")));
        }
        let id = &head[8..16];
        if id != master.id() {
            return Err(Error::Key(format!(
                "object {name} is encrypted with the key of repository {}, and this is repository {}: \
                 it was copied here by other means than walmgr; nothing is damaged",
                super::master::hex(id),
                super::master::hex(&master.id())
            )));
        }
        Ok(Self::with(master, name, header))
    }

    fn seal(&self, chunk: u64, last: bool, bytes: &mut Vec<u8>) -> io::Result<()> {
        let number = u32::try_from(chunk).map_err(io::Error::other)?;
        self.stream
            .encrypt_in_place(number, last, &self.header, bytes)
            .map_err(|_| io::Error::other("cannot encrypt"))
    }

    fn unseal(&self, chunk: u64, last: bool, bytes: &mut Vec<u8>) -> Option<()> {
        let number = u32::try_from(chunk).ok()?;
        self.stream.decrypt_in_place(number, last, &self.header, bytes).ok()
    }
}

/// Seals what is written to it. The first chunk is held back to the end: whoever writes may go back
/// and change what it has.
pub(super) struct SealedSink<'a> {
    to: &'a mut dyn Sink,
    cipher: Cipher,
    first: Vec<u8>,
    chunk: Vec<u8>,
    /// Chunks before the present one.
    before: u64,
    position: u64,
    /// A write has failed in the middle of a chunk; buffers try once more when they are dropped.
    has_failed: bool,
}

impl<'a> SealedSink<'a> {
    pub(super) fn new(to: &'a mut dyn Sink, master: &Master, name: &str) -> Result<Self> {
        let cipher = Cipher::new(master, name)?;
        to.write_all(&cipher.header).map_err(Error::repository(format!("write {name}")))?;
        let first = Vec::with_capacity(SEALED);
        let chunk = Vec::new();
        Ok(Self { to, cipher, first, chunk, before: 0, position: 0, has_failed: false })
    }

    fn end(&self) -> u64 {
        match self.before {
            0 => wide(self.first.len()),
            before => before * wide(CHUNK) + wide(self.chunk.len()),
        }
    }

    /// Seal what remains. Whoever has written is done.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.check()?;
        if self.before == 0 {
            self.cipher.seal(0, true, &mut self.first)?;
            return self.to.write_all(&self.first);
        }
        self.cipher.seal(self.before, true, &mut self.chunk)?;
        self.to.write_all(&self.chunk)?;
        let end = Layout::start(self.before) + wide(self.chunk.len());
        self.cipher.seal(0, false, &mut self.first)?;
        self.to.seek(SeekFrom::Start(wide(HEADER)))?;
        self.to.write_all(&self.first)?;
        self.to.seek(SeekFrom::Start(end)).map(drop)
    }

    /// Refuse to go on after a failure.
    fn check(&self) -> io::Result<()> {
        match self.has_failed {
            true => Err(io::Error::other("an earlier write has failed")),
            false => Ok(()),
        }
    }

    /// Make room: the present chunk is full, and is not the last.
    fn next_chunk(&mut self) -> io::Result<()> {
        self.has_failed = true;
        if self.before == 0 {
            // Its place.
            self.to.write_all(&[0; SEALED])?;
        } else {
            self.cipher.seal(self.before, false, &mut self.chunk)?;
            self.to.write_all(&self.chunk)?;
        }
        self.chunk.clear();
        self.before += 1;
        self.has_failed = false;
        Ok(())
    }
}

impl Write for SealedSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let count = if self.position == self.end() {
            let full = if self.before == 0 { self.first.len() } else { self.chunk.len() };
            if full == CHUNK {
                self.next_chunk()?;
            }
            let to = if self.before == 0 { &mut self.first } else { &mut self.chunk };
            let count = bytes.len().min(CHUNK - to.len());
            to.extend_from_slice(&bytes[..count]);
            count
        } else {
            // Where `seek` lets it be.
            let place = &mut self.first[narrow(self.position)..];
            let count = place.len().min(bytes.len());
            place[..count].copy_from_slice(&bytes[..count]);
            count
        };
        self.position += wide(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SealedSink<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.end().checked_add_signed(by),
        };
        let held = wide(self.first.len());
        let target = target
            .filter(|target| *target < held || *target == self.end())
            .ok_or(ErrorKind::InvalidInput)?;
        self.position = target;
        Ok(target)
    }
}

/// An object that is opened chunk by chunk, in any order.
pub(super) struct SealedSource {
    from: Box<dyn Source>,
    master: Master,
    name: String,
    /// `None` for what cannot be a sealed object: it is there, and can be replaced, but not read.
    layout: Option<Layout>,
    cipher: OnceLock<Cipher>,
    /// The last chunk that was opened: small reads come close to each other.
    recent: Mutex<Option<(u64, Vec<u8>)>>,
}

impl SealedSource {
    pub(super) fn new(from: Box<dyn Source>, master: Master, name: &str) -> Self {
        let (layout, name) = (Layout::of(from.size()), name.to_owned());
        Self { from, master, name, layout, cipher: OnceLock::new(), recent: Mutex::new(None) }
    }

    fn layout(&self) -> Result<Layout> {
        let stored = self.from.size();
        self.layout.ok_or_else(|| {
            Error::Corrupt(format!(
                "object {} is damaged: {stored} bytes are no sealed object",
                self.name
            ))
        })
    }

    fn cipher(&self) -> Result<&Cipher> {
        if let Some(cipher) = self.cipher.get() {
            return Ok(cipher);
        }
        let mut header = [0; HEADER];
        self.from.read_exact_at(&mut header, 0)?;
        let cipher = Cipher::open(&self.master, &self.name, header)?;
        Ok(self.cipher.get_or_init(|| cipher))
    }

    fn damaged(&self, chunk: u64) -> Error {
        Error::Corrupt(format!(
            "object {} is damaged: chunk {chunk} is not what was written",
            self.name
        ))
    }

    fn unseal(
        &self,
        cipher: &Cipher,
        layout: Layout,
        chunk: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        let last = chunk + 1 == layout.chunks;
        cipher.unseal(chunk, last, bytes).ok_or_else(|| self.damaged(chunk))
    }
}

/// Copy what two ranges of the content have in common.
fn copy(from: &[u8], from_at: u64, to: &mut [u8], to_at: u64) {
    let begin = from_at.max(to_at);
    let end = (from_at + wide(from.len())).min(to_at + wide(to.len()));
    if begin < end {
        let source = &from[narrow(begin - from_at)..narrow(end - from_at)];
        to[narrow(begin - to_at)..narrow(end - to_at)].copy_from_slice(source);
    }
}

impl Source for SealedSource {
    fn size(&self) -> u64 {
        self.layout.map_or(0, |layout| layout.plain)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let layout = self.layout()?;
        let end = offset.checked_add(wide(buffer.len())).filter(|end| *end <= layout.plain);
        let end =
            end.ok_or_else(|| Error::Corrupt(format!("object {} is cut short", self.name)))?;
        let cipher = self.cipher()?;
        // Of an empty range, too, something is proved.
        let first = (offset / wide(CHUNK)).min(layout.chunks - 1);
        let behind = end.div_ceil(wide(CHUNK)).max(first + 1);
        let mut next = first;
        if let Some((chunk, bytes)) =
            self.recent.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && *chunk == first
        {
            copy(bytes, first * wide(CHUNK), buffer, offset);
            next += 1;
        }
        let mut last = None;
        while next < behind {
            let until = (next + BATCH).min(behind);
            let begin = Layout::start(next);
            let mut batch = vec![0; narrow(layout.end(until - 1) - begin)];
            self.from.read_exact_at(&mut batch, begin)?;
            for sealed in batch.chunks(SEALED) {
                let mut bytes = sealed.to_vec();
                self.unseal(cipher, layout, next, &mut bytes)?;
                copy(&bytes, next * wide(CHUNK), buffer, offset);
                last = Some((next, bytes));
                next += 1;
            }
        }
        if last.is_some() {
            *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        Ok(())
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        let from = self.from.reader();
        Box::new(SealedReader { source: self, from, next: 0, bytes: Vec::new(), used: 0 })
    }
}

struct SealedReader<'a> {
    source: &'a SealedSource,
    from: Box<dyn Read + 'a>,
    next: u64,
    bytes: Vec<u8>,
    used: usize,
}

impl SealedReader<'_> {
    fn refill(&mut self) -> io::Result<()> {
        let source = self.source;
        let invalid = |error: Error| io::Error::new(ErrorKind::InvalidData, error);
        let layout = source.layout().map_err(invalid)?;
        if self.next == 0 {
            let mut header = [0; HEADER];
            self.from.read_exact(&mut header)?;
            let cipher = Cipher::open(&source.master, &source.name, header).map_err(invalid)?;
            let kept = source.cipher.get_or_init(|| cipher);
            if kept.header != header {
                return Err(invalid(source.damaged(0)));
            }
        }
        let size = layout.end(self.next) - Layout::start(self.next);
        self.bytes.resize(narrow(size), 0);
        self.used = 0;
        let read = self.from.read_exact(&mut self.bytes);
        if let Err(error) = read {
            self.bytes.clear();
            return Err(error);
        }
        let opened = source
            .cipher()
            .and_then(|cipher| source.unseal(cipher, layout, self.next, &mut self.bytes));
        if let Err(error) = opened {
            // Nothing of it is the writer's.
            self.bytes.clear();
            return Err(invalid(error));
        }
        self.next += 1;
        Ok(())
    }
}

impl Read for SealedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.bytes.len() {
            // What is no sealed object has no end either: reading it fails.
            if self.source.layout.is_some_and(|layout| self.next == layout.chunks) {
                return Ok(0);
            }
            self.refill()?;
        }
        let mut rest = &self.bytes[self.used..];
        let count = rest.read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "made-up content and places of a few chunks"
)]
mod tests;
