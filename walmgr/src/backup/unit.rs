//! Reading: a part of a file, chunk by chunk, with its pages checked.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use crate::backup::manifest::CHUNK;
use crate::backup::scan::{Found, Relation};
use crate::error::{Error, Result};
use crate::pg::page::{self, Verdict};
use crate::plain_file;
use crate::size::wide;

/// Length of a part: long enough for sequential reading, short enough for threads to share a large
/// file.
pub(crate) const UNIT: u64 = 64 << 20;

/// Blocks in a segment file of a relation: 1 GiB of 8 KiB pages.
const SEGMENT_BLOCKS: u32 = 131_072;

/// How pages are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageCheck {
    /// The cluster has page checksums, and pages of the known size.
    pub(crate) enabled: bool,
    /// Where replay of this backup begins.
    pub(crate) start: u64,
}

/// An open part of a file.
pub(crate) struct Unit<'a> {
    file: File,
    found: &'a Found,
    offset: u64,
    end: u64,
    first_block: Option<u32>,
    check: PageCheck,
    /// `path:block` of pages with a wrong checksum.
    pub(crate) damaged: Vec<String>,
    /// The same of pages that claim to be younger than the backup, and their positions.
    pub(crate) recent: Vec<(String, u64)>,
}

impl<'a> Unit<'a> {
    /// Open a part; `None` when the file is gone.
    pub(crate) fn open(found: &'a Found, number: u64, check: PageCheck) -> Result<Option<Self>> {
        let file = match plain_file::open(&found.place) {
            Ok((file, _)) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::local(format!("open {}", found.path))(error)),
        };
        let first_block = check.enabled.then(|| Relation::parse(&found.path)).flatten();
        let offset = number * UNIT;
        Ok(Some(Self {
            file,
            found,
            offset,
            end: found.size.min(offset + UNIT),
            first_block: first_block
                .and_then(|relation| relation.segment.checked_mul(SEGMENT_BLOCKS)),
            check,
            damaged: Vec::new(),
            recent: Vec::new(),
        }))
    }

    /// Read the next chunk into the buffer; its length, 0 at the end of the part or of a file that
    /// has shrunk.
    pub(crate) fn next(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(CHUNK).min(CHUNK);
        let mut filled = 0;
        while filled < left {
            let rest = buffer.get_mut(filled..left).expect("the buffer takes a chunk");
            let at = self.offset + wide(filled);
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::local(format!("read {}", self.found.path))(error)),
            }
        }
        if let (Some(first), Some(bytes)) = (self.first_block, buffer.get_mut(..filled)) {
            self.check_pages(first, bytes)?;
        }
        self.offset += wide(filled);
        if filled < left {
            self.end = self.offset;
        }
        Ok(filled)
    }

    fn check_pages(&mut self, first: u32, bytes: &mut [u8]) -> Result<()> {
        let mut waited = false;
        for (number, page) in bytes.chunks_exact_mut(page::SIZE).enumerate() {
            let place = self.offset + wide(number * page::SIZE);
            let block = first + u32::try_from(place / wide(page::SIZE)).unwrap_or(u32::MAX - first);
            let mut verdict = page::check(page, block, self.check.start);
            if verdict == Verdict::Bad {
                // The server may just have been writing it. What is there a moment later counts.
                if !waited {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    waited = true;
                }
                self.file
                    .read_exact_at(page, place)
                    .or_else(|error| match error.kind() {
                        ErrorKind::UnexpectedEof => Ok(()),
                        _ => Err(error),
                    })
                    .map_err(Error::local(format!("read {}", self.found.path)))?;
                verdict = page::check(page, block, self.check.start);
            }
            match verdict {
                Verdict::Fine => {}
                Verdict::Recent(lsn) => {
                    self.recent.push((format!("{}:{block}", self.found.path), lsn))
                }
                Verdict::Bad => self.damaged.push(format!("{}:{block}", self.found.path)),
            }
        }
        Ok(())
    }
}
