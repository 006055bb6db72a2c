use std::io::{Read, Seek, SeekFrom, Write};

use proptest::prelude::*;

use super::{CHUNK, HEADER, SEALED, SealedSink, SealedSource};
use crate::error::{Error, Result};
use crate::repo::Source;
use crate::repo::sealed::master::Master;

struct Bytes(Vec<u8>);

impl Source for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let at = usize::try_from(offset).unwrap();
        let from = self.0.get(at..at + buffer.len());
        buffer.copy_from_slice(from.ok_or_else(|| Error::Corrupt("short".to_owned()))?);
        Ok(())
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        Box::new(&*self.0)
    }
}

fn master() -> Master {
    Master::random().unwrap()
}

fn seal(master: &Master, name: &str, plain: &[u8], piece: usize) -> Vec<u8> {
    let mut stored = std::io::Cursor::new(Vec::new());
    let mut sink = SealedSink::new(&mut stored, master, name).unwrap();
    plain.chunks(piece).for_each(|piece| sink.write_all(piece).unwrap());
    sink.finish().unwrap();
    stored.into_inner()
}

/// The content by both ways of reading, which must agree.
fn open(master: &Master, name: &str, stored: &[u8]) -> Result<Vec<u8>> {
    let source = SealedSource::new(Box::new(Bytes(stored.to_vec())), master.clone(), name);
    let mut streamed = Vec::new();
    let by_stream = source.reader().read_to_end(&mut streamed).map_err(Error::repository("read"));
    let source = SealedSource::new(Box::new(Bytes(stored.to_vec())), master.clone(), name);
    let mut at_once = vec![0; usize::try_from(source.size()).unwrap()];
    let by_place = source.read_exact_at(&mut at_once, 0);
    match (by_stream, by_place) {
        (Ok(_), Ok(())) => {
            assert_eq!(streamed, at_once);
            Ok(streamed)
        }
        (Err(error), Err(other)) => {
            assert_eq!(error.exit_code(), other.exit_code(), "{error} / {other}");
            Err(error)
        }
        (one, other) => panic!("the two ways differ: {one:?} {other:?}"),
    }
}

/// A disk that is full after so many bytes.
struct Full(std::io::Cursor<Vec<u8>>, u64);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.position() + bytes.len() as u64 <= self.1 {
            true => self.0.write(bytes),
            false => Err(std::io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn after_a_failure_nothing_more_is_written() {
    for room in [HEADER, HEADER + SEALED, HEADER + 2 * SEALED] {
        let mut full = Full(std::io::Cursor::new(Vec::new()), room as u64);
        let mut sink = SealedSink::new(&mut full, &master(), "x").unwrap();
        {
            // Which tries again when it is dropped.
            let mut buffer = std::io::BufWriter::with_capacity(CHUNK / 2, &mut sink);
            buffer.write_all(&content(4 * CHUNK)).unwrap_err();
            let _ = buffer.write_all(&content(CHUNK / 4));
        }
        sink.write_all(b"x").unwrap_err();
        sink.finish().unwrap_err();
        assert!(full.0.into_inner().len() <= room);
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn is_damage(outcome: Result<Vec<u8>>) -> bool {
    matches!(outcome, Err(Error::Corrupt(_)))
}

#[test]
fn content_of_every_length_around_a_chunk_comes_back() {
    let master = master();
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1, 40 * CHUNK + 7] {
        let plain = content(length);
        let stored = seal(&master, "a", &plain, 10_007);
        assert_eq!(open(&master, "a", &stored).unwrap(), plain, "{length}");
    }
}

#[test]
fn what_was_written_first_can_be_written_over_at_the_end() {
    let master = master();
    for length in [100, CHUNK, 3 * CHUNK + 5] {
        let mut plain = content(length);
        let mut stored = std::io::Cursor::new(Vec::new());
        let mut sink = SealedSink::new(&mut stored, &master, "a").unwrap();
        sink.write_all(&plain).unwrap();
        sink.seek(SeekFrom::Start(10)).unwrap();
        sink.write_all(b"header").unwrap();
        assert_eq!(sink.seek(SeekFrom::End(0)).unwrap(), length as u64);
        sink.write_all(b"tail").unwrap();
        // A chunk that is gone cannot be changed.
        assert!(sink.seek(SeekFrom::Start(CHUNK as u64 + 1)).is_err());
        sink.finish().unwrap();
        plain[10..16].copy_from_slice(b"header");
        plain.extend_from_slice(b"tail");
        assert_eq!(open(&master, "a", &stored.into_inner()).unwrap(), plain, "{length}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let master = master();
    let stored = seal(&master, "a", b"some content", 5);
    for bit in 0..stored.len() * 8 {
        let mut changed = stored.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(is_damage(open(&master, "a", &changed)), "bit {bit}");
    }
}

#[test]
fn every_truncation_and_every_longer_object_is_found() {
    let master = master();
    let short = seal(&master, "a", b"some content", 5);
    for length in 0..short.len() {
        assert!(is_damage(open(&master, "a", &short[..length])), "{length}");
    }
    let long = seal(&master, "a", &content(3 * CHUNK), CHUNK);
    for chunks in 0..3 {
        let cut = &long[..HEADER + chunks * SEALED];
        assert!(is_damage(open(&master, "a", cut)), "{chunks} chunks");
    }
    for more in [1, 16, 17, SEALED] {
        let mut longer = long.clone();
        longer.resize(long.len() + more, 0);
        assert!(is_damage(open(&master, "a", &longer)), "{more} more");
        // Bytes that were sealed once do no better.
        let mut longer = long.clone();
        longer.extend_from_within(HEADER..HEADER + more);
        assert!(is_damage(open(&master, "a", &longer)), "{more} more of its own");
    }
}

#[test]
fn chunks_and_objects_cannot_change_places() {
    let master = master();
    let one = seal(&master, "a", &content(4 * CHUNK), CHUNK);
    let other = seal(&master, "a", &content(4 * CHUNK), CHUNK);
    let chunk = |at: usize| HEADER + at * SEALED..HEADER + (at + 1) * SEALED;
    let mut swapped = one.clone();
    swapped.copy_within(chunk(1), chunk(2).start);
    swapped[chunk(1)].copy_from_slice(&one[chunk(2)]);
    assert!(is_damage(open(&master, "a", &swapped)));
    let mut mixed = one.clone();
    mixed[chunk(1)].copy_from_slice(&other[chunk(1)]);
    assert!(is_damage(open(&master, "a", &mixed)), "same name, place, content and key");
    assert!(is_damage(open(&master, "b", &one)), "another name");
}

#[test]
fn another_repository_s_object_is_no_damage() {
    let stored = seal(&master(), "a", b"x", 1);
    assert!(matches!(open(&master(), "a", &stored), Err(Error::Key(_))));
}

#[test]
fn an_object_that_is_not_sealed_is_refused() {
    let master = master();
    for plain in [vec![], vec![0; 10], vec![7; 1000]] {
        assert!(is_damage(open(&master, "a", &plain)));
    }
}

#[test]
fn the_same_content_never_looks_the_same() {
    let master = master();
    let (one, other) = (seal(&master, "a", &[7; 100], 9), seal(&master, "a", &[7; 100], 9));
    assert!(one[HEADER..] != other[HEADER..]);
    assert_eq!(one.len(), other.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_part_is_read_as_it_was_written(
        length in 0_usize..5 * CHUNK,
        piece in 1_usize..2 * CHUNK,
        places in prop::collection::vec((0.0_f64..1.0, 0.0_f64..1.0), 1..8),
    ) {
        let master = master();
        let plain = content(length);
        let stored = seal(&master, "n", &plain, piece);
        let source = SealedSource::new(Box::new(Bytes(stored)), master, "n");
        for (at, part) in places {
            let at = (at * length as f64) as usize;
            let size = (part * (length - at) as f64) as usize;
            let mut bytes = vec![0; size];
            source.read_exact_at(&mut bytes, at as u64).unwrap();
            prop_assert_eq!(&bytes[..], &plain[at..at + size]);
        }
        prop_assert!(source.read_exact_at(&mut [0], length as u64).is_err());
    }

    #[test]
    fn a_changed_byte_is_found_wherever_it_is(
        length in 0_usize..3 * CHUNK,
        at in 0.0_f64..1.0,
        by in 1_u8..=255,
    ) {
        let master = master();
        let mut stored = seal(&master, "n", &content(length), CHUNK);
        let at = (at * stored.len() as f64) as usize;
        stored[at] ^= by;
        prop_assert!(is_damage(open(&master, "n", &stored)));
    }
}
