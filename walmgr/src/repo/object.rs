//! The form of a stored WAL file: a header of 72 bytes with the content's hash, then the content,
//! compressed or not.
//!
//! | offset | size | |
//! |---|---|---|
//! | 0 | 8 | `WALMGR` 00 01 |
//! | 8 | 1 | codec: 0 none, 1 zstd, 2 lz4 frame |
//! | 16 | 8 | length of the content (little endian) |
//! | 24 | 8 | length of what follows the header |
//! | 32 | 32 | BLAKE3 of the content |
//! | 64 | 4 | CRC-32C of the 64 bytes before |
//!
//! The hash travels with the bytes in one atomic object, so there is no second file that could
//! disagree. Without walmgr, `tail -c +73 OBJECT | zstd -d` gives the file.

use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use blake3::Hasher;

use crate::error::{Error, Result};
use crate::repo::{Sink, Source};
use crate::size::wide;

const MAGIC: [u8; 8] = *b"WALMGR\0\x01";
const HEADER: usize = 72;

/// BLAKE3 of some content: a cryptographic hash, and fast where SHA-256 would be most of the work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// Hash bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }

    /// Read the text form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut hash = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(hash))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{self}")
    }
}

/// How content is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As it is.
    None,
    /// Zstandard at a level.
    Zstd(i32),
    /// LZ4 frame.
    Lz4,
}

impl Codec {
    /// The number in stored headers.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Zstd(_) => 1,
            Self::Lz4 => 2,
        }
    }

    /// The codec of a stored number; the level does not matter for reading.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Zstd(0)),
            2 => Some(Self::Lz4),
            _ => None,
        }
    }
}

/// What is known of a stored object without reading it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// How it is compressed.
    pub(crate) codec: Codec,
    /// Length of the content.
    pub(crate) length: u64,
    /// Length of what is stored after the header.
    pub(crate) stored: u64,
    /// Hash of the content.
    pub(crate) hash: Hash,
}

/// An object that was just written, whose bytes may serve for another store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Its header.
    pub(crate) meta: Meta,
    /// CRC-32C of what follows the header.
    body: u32,
}

/// What is read, hashed and compressed at a time: few system calls, the bytes stay in the
/// processor's cache between the steps, and the allocator keeps buffers of this size.
const BLOCK: usize = 64 << 10;

/// Write content of a length that is known before, which lets the compressor choose well, as an
/// object.
///
/// # Errors
/// [`Error::Corrupt`] when the content turns out to have another length.
pub(crate) fn write(
    sink: &mut dyn Sink,
    content: &mut dyn Read,
    expected: u64,
    codec: Codec,
) -> Result<Written> {
    let to = || Error::repository("write object");
    let mut out = BufWriter::with_capacity(BLOCK, sink);
    out.write_all(&[0; HEADER]).map_err(to())?;
    let mut out = Summing { inner: out, crc: 0 };
    let mut digest = Hasher::new();
    let length = match codec {
        Codec::None => absorb(content, expected, &mut digest, &mut out)?,
        Codec::Zstd(level) => {
            let mut encoder = zstd::Encoder::new(&mut out, level).map_err(to())?;
            encoder.set_pledged_src_size(Some(expected)).map_err(to())?;
            let length = absorb(content, expected, &mut digest, &mut encoder)?;
            encoder.finish().map_err(to())?;
            length
        }
        Codec::Lz4 => {
            let mut encoder = lz4_frame().build(&mut out).map_err(to())?;
            let length = absorb(content, expected, &mut digest, &mut encoder)?;
            encoder.finish().1.map_err(to())?;
            length
        }
    };
    let Summing { inner: mut out, crc: body } = out;
    let end = out.stream_position().map_err(to())?;
    let meta =
        Meta { codec, length, stored: end - wide(HEADER), hash: Hash(digest.finalize().into()) };
    out.seek(SeekFrom::Start(0)).map_err(to())?;
    out.write_all(&header(&meta)).map_err(to())?;
    out.seek(SeekFrom::Start(end)).map_err(to())?;
    out.flush().map_err(to())?;
    Ok(Written { meta, body })
}

/// Write an object once more, from where it was just written to: nothing is compressed again, and
/// nothing else than what was written then comes out.
///
/// # Errors
/// [`Error::Corrupt`] when what is there is something else by now.
pub(crate) fn write_again(
    sink: &mut dyn Sink,
    from: &dyn Source,
    key: &str,
    written: &Written,
) -> Result<()> {
    let (from_it, to) =
        (Error::repository(format!("read {key}")), Error::repository("write object"));
    let changed = || Error::Corrupt(format!("object {key} is not what was written"));
    if from.size().checked_sub(wide(HEADER)) != Some(written.meta.stored) {
        return Err(changed());
    }
    let mut out = Summing { inner: BufWriter::with_capacity(BLOCK, sink), crc: 0 };
    out.inner.write_all(&header(&written.meta)).map_err(to)?;
    let mut stored = from.reader();
    io::copy(&mut stored.by_ref().take(wide(HEADER)), &mut io::sink()).map_err(from_it)?;
    let length =
        io::copy(&mut stored, &mut out).map_err(Error::repository(format!("copy {key}")))?;
    out.flush().map_err(Error::repository("write object"))?;
    match (length, out.crc) == (written.meta.stored, written.body) {
        true => Ok(()),
        false => Err(changed()),
    }
}

/// Counts what is written to it into a CRC-32C.
struct Summing<W> {
    inner: W,
    crc: u32,
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        let taken = bytes.get(..count).expect("no more is taken than is given");
        self.crc = crc32c::crc32c_append(self.crc, taken);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Blocks that stay in the processor's cache and need no other: linked ones compress little better
/// and much slower. No checksums beside the header's hash.
fn lz4_frame() -> lz4::EncoderBuilder {
    let mut frame = lz4::EncoderBuilder::new();
    frame
        .block_size(lz4::BlockSize::Max64KB)
        .block_mode(lz4::BlockMode::Independent)
        .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
        .checksum(lz4::ContentChecksum::NoChecksum);
    frame
}

/// Hash everything and pass it on; its length.
fn absorb(
    content: &mut dyn Read,
    expected: u64,
    digest: &mut Hasher,
    to: &mut dyn Write,
) -> Result<u64> {
    let changed = || Error::Corrupt("the file changed while it was read".to_owned());
    let mut buffer = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) if length == expected => return Ok(length),
            Ok(0) => return Err(changed()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::local("read content")(error)),
        };
        let bytes = buffer.get(..count).expect("a read fills no more than the buffer");
        length += wide(count);
        if length > expected {
            return Err(changed());
        }
        digest.update(bytes);
        to.write_all(bytes).map_err(Error::repository("write object"))?;
    }
}

/// Read the header of an object and hold it against the object's size.
///
/// # Errors
/// [`Error::Corrupt`] for anything that is not a whole header of an object of this size.
pub(crate) fn read_meta(source: &dyn Source, key: &str) -> Result<Meta> {
    let corrupt = |why: &str| Error::Corrupt(format!("object {key} is damaged: {why}"));
    if source.size() < wide(HEADER) {
        return Err(corrupt("shorter than its header"));
    }
    let mut bytes = [0; HEADER];
    source.read_exact_at(&mut bytes, 0)?;
    let meta = parse_header(&bytes).ok_or_else(|| corrupt("bad header"))?;
    if source.size() - wide(HEADER) != meta.stored {
        return Err(corrupt("its size is not what its header says"));
    }
    Ok(meta)
}

/// Read the content of an object, which by its kind is at most so long, to its end and verify it.
///
/// # Errors
/// [`Error::Corrupt`] when length or hash differ; what was written until then is worthless, and
/// never longer than the header says.
pub(crate) fn read(source: &dyn Source, key: &str, limit: u64, to: &mut dyn Write) -> Result<Meta> {
    read_tee(source, key, limit, to, &mut io::sink())
}

/// The same, passing on the object as it is stored, too.
///
/// # Errors
/// As [`read`]; and what writing it met.
pub(crate) fn read_tee(
    source: &dyn Source,
    key: &str,
    limit: u64,
    to: &mut dyn Write,
    object: &mut dyn Write,
) -> Result<Meta> {
    let meta = read_meta(source, key)?;
    let corrupt = |why: String| Error::Corrupt(format!("object {key} is damaged: {why}"));
    if meta.length > limit {
        return Err(corrupt(format!("it claims to have {} bytes", meta.length)));
    }
    let mut stored = source.reader();
    let mut header = [0; HEADER];
    stored.read_exact(&mut header).map_err(Error::repository(format!("read {key}")))?;
    object.write_all(&header).map_err(Error::repository("write object"))?;
    let mut stored = Tracking { inner: stored.take(meta.stored), object, failed: None };
    let (copied, hash, length) = decode(&mut stored, &meta, to);
    // A decoder has no need of what comes after the end of its stream.
    let rest = io::copy(&mut stored, &mut io::sink()).map(drop);
    match stored.failed {
        Some(Failed::Read(error)) => {
            return Err(Error::repository(format!("read {key}"))(error));
        }
        Some(Failed::Write(error)) => return Err(Error::repository("write object")(error)),
        None => {}
    }
    rest.map_err(Error::repository(format!("read {key}")))?;
    match copied {
        Ok(()) => {}
        Err(Problem::Write(error)) => return Err(Error::local("write content")(error)),
        Err(Problem::Decode(error)) => return Err(corrupt(error.to_string())),
    }
    if length != meta.length || hash != meta.hash {
        return Err(corrupt(format!("content has hash {hash}, its header says {}", meta.hash)));
    }
    Ok(meta)
}

enum Problem {
    Decode(io::Error),
    Write(io::Error),
}

type Decoded = (std::result::Result<(), Problem>, Hash, u64);

/// Decompress everything, hashing.
fn decode<R: Read>(mut stored: &mut Tracking<'_, R>, meta: &Meta, to: &mut dyn Write) -> Decoded {
    let mut hash = Hasher::new();
    let mut length = 0;
    let copied = match meta.codec {
        Codec::None => pump(&mut stored, meta.length, to, &mut hash, &mut length),
        Codec::Zstd(_) => match zstd::Decoder::new(&mut stored) {
            Ok(mut decoder) => pump(&mut decoder, meta.length, to, &mut hash, &mut length),
            Err(error) => Err(Problem::Decode(error)),
        },
        Codec::Lz4 => match lz4::Decoder::new(&mut stored) {
            Ok(mut decoder) => pump(&mut decoder, meta.length, to, &mut hash, &mut length),
            Err(error) => Err(Problem::Decode(error)),
        },
    };
    (copied, Hash(hash.finalize().into()), length)
}

fn pump(
    from: &mut dyn Read,
    expected: u64,
    to: &mut dyn Write,
    hash: &mut Hasher,
    length: &mut u64,
) -> std::result::Result<(), Problem> {
    let mut buffer = vec![0; BLOCK];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Decode(error)),
        };
        let bytes = buffer.get(..count).expect("a read fills no more than the buffer");
        hash.update(bytes);
        *length += wide(count);
        if *length > expected {
            return Err(Problem::Decode(io::Error::other("it is longer than its header says")));
        }
        to.write_all(bytes).map_err(Problem::Write)?;
    }
}

fn header(meta: &Meta) -> [u8; HEADER] {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend(MAGIC);
    bytes.extend([meta.codec.number(), 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(meta.length.to_le_bytes());
    bytes.extend(meta.stored.to_le_bytes());
    bytes.extend(meta.hash.0);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.resize(HEADER, 0);
    bytes.try_into().expect("it was given this length")
}

fn parse_header(bytes: &[u8; HEADER]) -> Option<Meta> {
    let crc = u32::from_le_bytes(bytes.get(64..68)?.try_into().ok()?);
    if bytes.get(..8)? != MAGIC || crc32c::crc32c(bytes.get(..64)?) != crc {
        return None;
    }
    Some(Meta {
        codec: Codec::from_number(*bytes.get(8)?)?,
        length: u64::from_le_bytes(bytes.get(16..24)?.try_into().ok()?),
        stored: u64::from_le_bytes(bytes.get(24..32)?.try_into().ok()?),
        hash: Hash(bytes.get(32..64)?.try_into().ok()?),
    })
}

/// Passes on what is read, and remembers errors that a decoder would report as bad data.
struct Tracking<'a, R> {
    inner: R,
    object: &'a mut dyn Write,
    failed: Option<Failed>,
}

enum Failed {
    /// The storage.
    Read(io::Error),
    /// Where it is passed on to.
    Write(io::Error),
}

impl<R: Read> Read for Tracking<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.failed = Some(Failed::Read(error));
            }
            kind
        })?;
        let bytes = buffer.get(..count).expect("a read fills no more than the buffer");
        self.object.write_all(bytes).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(Failed::Write(error));
            kind
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use proptest::prelude::*;

    use super::{Codec, HEADER, Hash, read, write, write_again};
    use crate::error::{Error, Result};
    use crate::repo::Source;

    struct Bytes(Vec<u8>);

    impl Source for Bytes {
        fn size(&self) -> u64 {
            self.0.len().try_into().unwrap()
        }
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self.0[at..at + buffer.len()]);
            Ok(())
        }
        fn reader(&self) -> Box<dyn Read + '_> {
            Box::new(&self.0[..])
        }
    }

    fn stored(content: &[u8], codec: Codec) -> Bytes {
        let mut sink = Cursor::new(Vec::new());
        let meta =
            write(&mut sink, &mut &content[..], content.len().try_into().unwrap(), codec).unwrap();
        assert_eq!(meta.meta.hash, Hash::of(content));
        Bytes(sink.into_inner())
    }

    #[test]
    fn content_of_another_length_than_announced_is_refused() {
        for codec in [Codec::None, Codec::Zstd(3), Codec::Lz4] {
            for length in [0, 4, 6] {
                let mut sink = Cursor::new(Vec::new());
                let outcome = write(&mut sink, &mut &b"12345"[..], length, codec);
                assert!(matches!(outcome, Err(Error::Corrupt(_))), "{codec:?} {length}");
            }
        }
    }

    #[test]
    fn no_more_comes_out_than_the_header_says_and_the_kind_allows() {
        for codec in [Codec::None, Codec::Zstd(3), Codec::Lz4] {
            let content = vec![0; 1 << 20];
            let mut object = stored(&content, codec);
            // The header of another object: ten bytes.
            let small = stored(b"0123456789", codec);
            let meta = super::read_meta(&object, "x").unwrap();
            let other = super::read_meta(&small, "x").unwrap();
            let lie = super::header(&super::Meta { stored: meta.stored, ..other });
            object.0[..HEADER].copy_from_slice(&lie);
            let mut out = Vec::new();
            let read = read(&object, "x", u64::MAX, &mut out);
            assert!(matches!(read, Err(Error::Corrupt(_))), "{codec:?}");
            assert!(out.len() <= 10, "{codec:?}: {} bytes", out.len());
            let honest = stored(&content, codec);
            let read = super::read(&honest, "x", 1000, &mut out);
            assert!(matches!(read, Err(Error::Corrupt(_))), "{codec:?}");
            assert!(out.len() <= 10, "{codec:?}: {} bytes", out.len());
        }
    }

    fn codec() -> impl Strategy<Value = Codec> {
        prop_oneof![Just(Codec::None), Just(Codec::Zstd(3)), Just(Codec::Lz4)]
    }

    proptest! {
        #[test]
        fn content_comes_back(
            content in prop::collection::vec(any::<u8>(), 0..4096), codec in codec(),
        ) {
            let object = stored(&content, codec);
            let mut out = Vec::new();
            read(&object, "x", 4096, &mut out).unwrap();
            prop_assert_eq!(out, content);
        }

        #[test]
        fn what_is_written_again_is_what_was_written_or_nothing(
            content in prop::collection::vec(any::<u8>(), 1..512),
            codec in codec(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let mut first = Cursor::new(Vec::new());
            let length = content.len().try_into().unwrap();
            let written = write(&mut first, &mut &content[..], length, codec).unwrap();
            let mut first = Bytes(first.into_inner());
            let again = |first: &Bytes| {
                let mut sink = Cursor::new(Vec::new());
                write_again(&mut sink, first, "x", &written).map(|()| sink.into_inner())
            };
            prop_assert_eq!(&again(&first).unwrap(), &first.0);
            let whole = first.0.clone();
            first.0.truncate(at.index(whole.len()));
            prop_assert!(matches!(again(&first), Err(Error::Corrupt(_))));
            first.0 = whole.clone();
            // The header comes from memory.
            first.0[at.index(whole.len())] ^= 1 << bit;
            match again(&first) {
                Err(Error::Corrupt(_)) => {}
                Ok(again) => prop_assert_eq!(again, whole),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn any_flipped_bit_and_any_cut_is_noticed(
            content in prop::collection::vec(any::<u8>(), 1..512),
            codec in codec(), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let object = stored(&content, codec);
            let at = at.index(object.0.len());
            let mut cut = Bytes(object.0[..at].to_vec());
            prop_assert!(matches!(read(&cut, "x", 4096, &mut Vec::new()), Err(Error::Corrupt(_))));
            cut.0 = object.0.clone();
            cut.0[at] ^= 1 << bit;
            match read(&cut, "x", 4096, &mut Vec::new()) {
                Err(Error::Corrupt(_)) => {}
                // A bit that no reader looks at (padding) may flip: the content is still proven
                // right.
                Ok(meta) => prop_assert_eq!(meta.hash, Hash::of(&content)),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
