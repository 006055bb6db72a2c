//! Reading an object in blocks, of which some are kept.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::repo::Source;
use crate::repo::object_store::bucket::Bucket;
use crate::size::wide;

/// How much is read from an object at a time, and how many such blocks are kept.
const BLOCK: u64 = 4 << 20;
const BLOCKS: usize = 4;

type Block = (u64, Arc<Vec<u8>>);

/// An object that is read.
pub(super) struct ObjectSource {
    bucket: Arc<dyn Bucket>,
    key: String,
    size: u64,
    blocks: Mutex<VecDeque<Block>>,
}

impl ObjectSource {
    /// An object of this size; nothing is read yet.
    pub(super) fn new(bucket: Arc<dyn Bucket>, key: String, size: u64) -> Self {
        Self { bucket, key, size, blocks: Mutex::new(VecDeque::new()) }
    }

    fn block(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = blocks.iter().find(|(other, _)| *other == number) {
            return Ok(Arc::clone(block));
        }
        let start = number * BLOCK;
        let end = self.size.min(start + BLOCK);
        let bytes = self.bucket.get(&self.key, Some((start, end)), 0)?.ok_or_else(|| {
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
        let within = usize::try_from(offset % BLOCK).expect("a block is in memory");
        // A block that came short ends before this place.
        let Some(bytes) = block.get(within..) else { return Ok(0) };
        let count = bytes.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl Source for ObjectSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let rest = buffer.get_mut(filled..).expect("the loop ends at the end");
            let count = self.read_at(rest, offset + wide(filled))?;
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
    source: &'a ObjectSource,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read_at(buffer, self.offset).map_err(io::Error::other)?;
        self.offset += wide(count);
        Ok(count)
    }
}
