//! Packs: many chunks in one object, so that a backup is a few large sequential writes however
//! small its files are.
//!
//! `WALMGRP` 01, the codec (one byte, as in [`crate::repo::object`]), then the chunks, then a table
//! of contents: per chunk hash (32), offset (8), stored length (4), length (4), little endian; then
//! the number of entries (8) and the CRC-32C of the table (4). The table lets a backup that broke
//! off be taken up: what its finished packs hold need not be stored again.

use crate::backup::manifest::{CHUNK, Chunk};
use crate::error::{Error, Result};
use crate::repo::object::{Codec, Hash};
use crate::repo::{Sink, Source};
use crate::size::wide;

const MAGIC: [u8; 8] = *b"WALMGRP\x01";
const HEADER: u64 = 9;
const ENTRY: usize = 48;
/// Of more than a million chunks; packs are closed long before.
const LONGEST_TABLE: u64 = 48 << 20;

/// Compresses chunks; one per thread.
pub(crate) enum Packer {
    /// No compression.
    None,
    /// Zstandard.
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    /// LZ4 block.
    Lz4,
}

impl Packer {
    /// A packer for a codec.
    pub(crate) fn new(codec: Codec) -> Result<Self> {
        Ok(match codec {
            Codec::None => Self::None,
            Codec::Lz4 => Self::Lz4,
            Codec::Zstd(level) => Self::Zstd(Box::new(
                zstd::bulk::Compressor::new(level).map_err(Error::local("start zstd"))?,
            )),
        })
    }

    /// The stored form of a chunk.
    pub(crate) fn pack(&mut self, content: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::None => Ok(content.to_vec()),
            Self::Lz4 => {
                lz4::block::compress(content, None, false).map_err(Error::local("compress"))
            }
            Self::Zstd(zstd) => zstd.compress(content).map_err(Error::local("compress")),
        }
    }
}

/// Writes one pack.
pub(crate) struct Writer<'a> {
    sink: &'a mut dyn Sink,
    number: u32,
    offset: u64,
    table: Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Begin a pack that goes by `number` in the manifest.
    pub(crate) fn begin(sink: &'a mut dyn Sink, number: u32, codec: Codec) -> Result<Self> {
        let to = || Error::repository("write pack");
        sink.write_all(&MAGIC).map_err(to())?;
        sink.write_all(&[codec.number()]).map_err(to())?;
        Ok(Self { sink, number, offset: HEADER, table: Vec::new() })
    }

    /// Append a chunk.
    pub(crate) fn append(&mut self, hash: Hash, length: u32, stored: &[u8]) -> Result<Chunk> {
        self.sink.write_all(stored).map_err(Error::repository("write pack"))?;
        let stored = u32::try_from(stored.len())
            .map_err(|_| Error::Failed("a chunk is too large".to_owned()))?;
        let chunk = Chunk { hash, pack: self.number, offset: self.offset, stored, length };
        self.table.extend(hash.0);
        self.table.extend(self.offset.to_le_bytes());
        self.table.extend(stored.to_le_bytes());
        self.table.extend(length.to_le_bytes());
        self.offset += u64::from(stored);
        Ok(chunk)
    }

    /// Bytes so far.
    pub(crate) fn size(&self) -> u64 {
        self.offset
    }

    /// Write the table of contents; the pack's size.
    pub(crate) fn finish(mut self) -> Result<u64> {
        let entries = wide(self.table.len() / ENTRY);
        self.table.extend(entries.to_le_bytes());
        let crc = crc32c::crc32c(&self.table);
        self.table.extend(crc.to_le_bytes());
        self.sink.write_all(&self.table).map_err(Error::repository("write pack"))?;
        Ok(self.offset + wide(self.table.len()))
    }
}

/// Reads chunks out of one pack.
pub(crate) struct Reader {
    source: Box<dyn Source>,
    codec: Codec,
    key: String,
}

impl Reader {
    /// Open a pack.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it does not begin as one.
    pub(crate) fn open(source: Box<dyn Source>, key: &str) -> Result<Self> {
        let corrupt = || Error::Corrupt(format!("{key} is not a pack"));
        let mut header = [0; 9];
        if source.size() < HEADER {
            return Err(corrupt());
        }
        source.read_exact_at(&mut header, 0)?;
        let (magic, codec) = header.split_at(8);
        let codec = codec.first().copied().and_then(Codec::from_number).ok_or_else(corrupt)?;
        if magic != MAGIC {
            return Err(corrupt());
        }
        Ok(Self { source, codec, key: key.to_owned() })
    }

    /// Read and verify a chunk.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when its content does not have its hash.
    pub(crate) fn read(&self, chunk: &Chunk) -> Result<Vec<u8>> {
        let corrupt = || {
            Error::Corrupt(format!(
                "{} is damaged at {}: chunk {}",
                self.key, chunk.offset, chunk.hash
            ))
        };
        let length = usize::try_from(chunk.length).map_err(|_| corrupt())?;
        let stored_length = usize::try_from(chunk.stored).map_err(|_| corrupt())?;
        if length > CHUNK || stored_length > CHUNK * 2 {
            return Err(corrupt());
        }
        let mut stored = vec![0; stored_length];
        self.source.read_exact_at(&mut stored, chunk.offset)?;
        let content = match self.codec {
            Codec::None => stored,
            Codec::Zstd(_) => zstd::bulk::decompress(&stored, length).map_err(|_| corrupt())?,
            Codec::Lz4 => {
                let size = i32::try_from(length).map_err(|_| corrupt())?;
                lz4::block::decompress(&stored, Some(size)).map_err(|_| corrupt())?
            }
        };
        if content.len() != length || Hash::of(&content) != chunk.hash {
            return Err(corrupt());
        }
        Ok(content)
    }

    /// The chunks in this pack, from its table of contents, under the number `pack`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the table is damaged.
    pub(crate) fn table(&self, pack: u32) -> Result<Vec<Chunk>> {
        let corrupt = || Error::Corrupt(format!("{} has a damaged table of contents", self.key));
        let size = self.source.size();
        let mut tail = [0; 12];
        let end = size.checked_sub(12).ok_or_else(corrupt)?;
        self.source.read_exact_at(&mut tail, end)?;
        let (count, crc) = tail.split_at(8);
        let count = u64::from_le_bytes(count.try_into().map_err(|_| corrupt())?);
        let crc = u32::from_le_bytes(crc.try_into().map_err(|_| corrupt())?);
        let length = count.checked_mul(48).ok_or_else(corrupt)?;
        if length > end || length > LONGEST_TABLE {
            return Err(corrupt());
        }
        let mut table = vec![0; usize::try_from(length).map_err(|_| corrupt())?];
        self.source.read_exact_at(&mut table, end - length)?;
        if crc32c::crc32c_append(crc32c::crc32c(&table), &count.to_le_bytes()) != crc {
            return Err(corrupt());
        }
        table
            .chunks_exact(ENTRY)
            .map(|entry| parse_entry(entry, pack).ok_or_else(corrupt))
            .collect()
    }
}

fn parse_entry(entry: &[u8], pack: u32) -> Option<Chunk> {
    Some(Chunk {
        hash: Hash(entry.get(..32)?.try_into().ok()?),
        pack,
        offset: u64::from_le_bytes(entry.get(32..40)?.try_into().ok()?),
        stored: u32::from_le_bytes(entry.get(40..44)?.try_into().ok()?),
        length: u32::from_le_bytes(entry.get(44..48)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{Packer, Reader, Writer};
    use crate::repo::local::LocalStore;
    use crate::repo::object::{Codec, Hash};
    use crate::repo::{Store, create_small, read_all};

    #[test]
    fn chunks_come_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::init(dir.path()).unwrap();
        for codec in [Codec::None, Codec::Zstd(1), Codec::Lz4] {
            let key = format!("pack{}", codec.number());
            let contents: [&[u8]; 3] = [b"first", &[7; 10_000], b"x"];
            let mut chunks = Vec::new();
            store
                .create(&key, &mut |sink| {
                    let mut packer = Packer::new(codec)?;
                    let mut writer = Writer::begin(sink, 4, codec)?;
                    for content in contents {
                        let stored = packer.pack(content)?;
                        let length = content.len().try_into().unwrap();
                        chunks.push(writer.append(Hash::of(content), length, &stored)?);
                    }
                    writer.finish().map(|_| ())
                })
                .unwrap();
            let reader = Reader::open(store.open(&key).unwrap().unwrap(), &key).unwrap();
            assert_eq!(reader.table(4).unwrap(), chunks);
            for (chunk, content) in chunks.iter().zip(contents) {
                assert_eq!(reader.read(chunk).unwrap(), content);
            }
            let mut bytes = read_all(&store, &key).unwrap().unwrap();
            let place = usize::try_from(chunks[1].offset).unwrap() + 3;
            bytes[place] ^= 1;
            let damaged = format!("{key}.damaged");
            create_small(&store, &damaged, &bytes).unwrap();
            let reader = Reader::open(store.open(&damaged).unwrap().unwrap(), &damaged).unwrap();
            assert!(reader.read(&chunks[1]).is_err());
            std::io::sink().write_all(&reader.read(&chunks[2]).unwrap()).unwrap();
        }
    }
}
