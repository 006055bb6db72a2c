//! Reading WAL records: what was given a name, and which transactions ended where.
//!
//! Bytes of consecutive segments are written to [`Records`]; complete records come out. What is not
//! understood is passed over, since nothing is restored from here. Layouts (little endian, the same
//! in PostgreSQL 13 to 18): a page has a header of 24 bytes, the first of a segment 40, with flags
//! at 2 and the rest of a record from the page before at 16. A record has its length at 0,
//! transaction at 4, flags at 16 and its kind at 17, then headers of its parts, then data; it
//! begins at a multiple of eight.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::size::{narrow, wide};
use crate::wal::lsn::Lsn;

/// The server counts microseconds from here.
const YEAR_2000: i64 = 946_684_800_000_000;

const PAGE: usize = 8192;
const HEADER: usize = 24;
const CONTINUED: u16 = 0x0001;
const LONG_HEADER: u16 = 0x0002;

/// Longer records are passed over: none that are looked for are nearly as long.
const LIMIT: usize = 1 << 20;

/// A record that somebody may look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A restore point.
    Name(String),
    /// The end of a transaction, by commit or rollback.
    Transaction(u32),
}

/// Calls back with each mark and where its record begins.
pub(crate) struct Records<F> {
    position: u64,
    page: Vec<u8>,
    /// A record whose end is on a later page: where it begins, what there is of it, and its length.
    open: Option<(u64, Vec<u8>, usize)>,
    /// Of the statistics that a transaction drops; from 18 on, there are more bytes to them.
    stats_size: usize,
    /// Of the last record that has a time, in the server's form.
    last_time: Option<i64>,
    found: F,
}

impl<F: FnMut(Mark, Lsn)> Records<F> {
    /// A reader of segments from a position on, which is a segment's first byte.
    pub(crate) fn new(begin: Lsn, found: F) -> Self {
        Self {
            position: begin.0,
            page: Vec::with_capacity(PAGE),
            open: None,
            stats_size: 12,
            last_time: None,
            found,
        }
    }

    /// When the last transaction that was read ended, or the last restore point was set: recovery
    /// to a time goes by these.
    pub(crate) fn last_time(&self) -> Option<Timestamp> {
        let since_2000 = self.last_time?;
        Timestamp::from_microsecond(since_2000.checked_add(YEAR_2000)?).ok()
    }

    fn read_page(&mut self) {
        let page = std::mem::replace(&mut self.page, Vec::with_capacity(PAGE));
        let begin = self.position;
        self.position += wide(PAGE);
        let number = |at| u16::from_le_bytes(field(&page, at).expect("a page is whole"));
        let (magic, flags) = (number(0), number(2));
        if magic == 0 {
            self.open = None;
            return;
        }
        let is_18 = magic >= 0xD118;
        self.stats_size = if is_18 { 16 } else { 12 };
        let mut at = if flags & LONG_HEADER != 0 { 40 } else { 24 };
        if flags & CONTINUED != 0 {
            let rest = length(&page, 16).expect("a page is whole").min(PAGE - at);
            if let Some((start, mut bytes, total)) = self.open.take() {
                bytes.extend(page.get(at..at + rest).expect("it ends on the page"));
                self.take(start, bytes, total);
            }
            at = (at + rest).next_multiple_of(8);
        } else {
            self.open = None;
        }
        while self.open.is_none() && at < PAGE {
            let total = length(&page, at).expect("pages are of multiples of eight bytes");
            if total < HEADER {
                // The rest of the segment is not used.
                return;
            }
            let here = total.min(PAGE - at);
            let bytes = page.get(at..at + here).expect("it ends on the page").to_vec();
            self.take(begin + wide(at), bytes, total);
            at = (at + here).next_multiple_of(8);
        }
    }

    /// Keep what is not complete; look at what is.
    fn take(&mut self, start: u64, mut bytes: Vec<u8>, total: usize) {
        if bytes.len() < total {
            bytes.truncate(LIMIT);
            self.open = Some((start, bytes, total.min(LIMIT.saturating_mul(2))));
            return;
        }
        if let Some(mark) = mark(&bytes, self.stats_size) {
            self.last_time = main_data(&bytes)
                .and_then(|data| field(data, 0))
                .map(i64::from_le_bytes)
                .or(self.last_time);
            (self.found)(mark, Lsn(start));
        }
    }
}

impl<F: FnMut(Mark, Lsn)> Write for Records<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(PAGE - self.page.len()));
            self.page.extend(now);
            left = later;
            if self.page.len() == PAGE {
                self.read_page();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn mark(record: &[u8], stats_size: usize) -> Option<Mark> {
    let transaction = u32::from_le_bytes(field(record, 4)?);
    let (info, kind) = (*record.get(16)?, *record.get(17)?);
    match (kind, info & 0x70) {
        (0, 0x70) => {
            let name = main_data(record)?.get(8..72)?;
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Some(Mark::Name(String::from_utf8_lossy(name.get(..end)?).into_owned()))
        }
        (1, 0x00 | 0x20) => Some(Mark::Transaction(transaction)),
        (1, 0x30 | 0x40) => prepared(main_data(record)?, info, stats_size).map(Mark::Transaction),
        _ => None,
    }
}

/// The data of a record that refers to no blocks.
fn main_data(record: &[u8]) -> Option<&[u8]> {
    let mut at = HEADER;
    loop {
        let (header, length) = match *record.get(at)? {
            255 => (2, usize::from(*record.get(at + 1)?)),
            254 => (5, length(record, at + 1)?),
            253 => (3, 0),
            252 => (5, 0),
            _ => return None,
        };
        let marker = *record.get(at)?;
        at += header;
        if marker >= 254 {
            return record.get(at..at.checked_add(length)?);
        }
    }
}

/// The transaction that the end of a prepared one is of. Before its number come parts of various
/// lengths, each if its flag is set.
fn prepared(data: &[u8], info: u8, stats_size: usize) -> Option<u32> {
    if info & 0x80 == 0 {
        return None;
    }
    let parts = length(data, 8)?;
    let mut at = 12;
    if parts & 0x01 != 0 {
        at += 8;
    }
    // Subtransactions, files, statistics, invalidations: a number of things, and the things.
    for (flag, size) in [(0x02, 4), (0x04, 12), (0x100, stats_size), (0x08, 16)] {
        if parts & flag != 0 {
            at += 4 + length(data, at)?.checked_mul(size)?;
        }
    }
    (parts & 0x10 != 0).then(|| field(data, at).map(u32::from_le_bytes)).flatten()
}

fn length(bytes: &[u8], at: usize) -> Option<usize> {
    field(bytes, at).map(|number| narrow(u32::from_le_bytes(number).into()))
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{HEADER, Mark, PAGE, Records};
    use crate::wal::lsn::Lsn;

    fn record(kind: u8, info: u8, transaction: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..8].copy_from_slice(&transaction.to_le_bytes());
        bytes[16] = info;
        bytes[17] = kind;
        bytes.push(254);
        bytes.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        bytes.extend(data);
        let total = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes
    }

    fn restore_point(name: &str) -> Vec<u8> {
        let mut data = vec![0; 72];
        data[8..8 + name.len()].copy_from_slice(name.as_bytes());
        record(0, 0x70, 0, &data)
    }

    /// Pages with these records, each page's first bytes being what is left of the record before.
    fn pages(records: &[Vec<u8>]) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for record in records {
            out.resize(out.len().next_multiple_of(8), 0);
            let mut left = record.as_slice();
            let mut begun = false;
            while !left.is_empty() {
                if out.len().is_multiple_of(PAGE) {
                    let length = if out.is_empty() { 40 } else { 24 };
                    let mut header = vec![0; length];
                    header[0] = 0x10;
                    header[2] = u8::from(begun) | if out.is_empty() { 2 } else { 0 };
                    let rest = if begun { left.len() } else { 0 };
                    header[16..20].copy_from_slice(&u32::try_from(rest).unwrap().to_le_bytes());
                    out.extend(header);
                }
                let room = (PAGE - out.len() % PAGE).min(left.len());
                out.extend(&left[..room]);
                left = &left[room..];
                begun = true;
            }
        }
        out.resize(out.len().next_multiple_of(PAGE), 0);
        out
    }

    fn marks(bytes: &[u8], piece: usize) -> Vec<(Mark, u64)> {
        let mut found = Vec::new();
        let mut reader = Records::new(Lsn(1 << 20), |mark, at: Lsn| found.push((mark, at.0)));
        for piece in bytes.chunks(piece) {
            reader.write_all(piece).unwrap();
        }
        found
    }

    #[test]
    fn marks_are_found_wherever_pages_cut_them() {
        let mut prepared = vec![0; 8];
        prepared.extend(0x0000_0112_u32.to_le_bytes());
        prepared.extend([1, 0, 0, 0, 9, 9, 9, 9]); // one subtransaction
        prepared.extend([1, 0, 0, 0]); // one of statistics
        prepared.extend([8; 12]);
        prepared.extend(77_u32.to_le_bytes());
        for filler in (0..PAGE * 3).step_by(1016).chain([PAGE - 120, PAGE - 72, PAGE - 64]) {
            let records = [
                record(10, 0, 5, &vec![1; filler]),
                restore_point("before six"),
                record(1, 0x00, 42, &[0; 8]),
                record(1, 0x30 | 0x80, 0, &prepared),
                record(1, 0x10, 43, &[0; 8]), // prepares, and does not end
            ];
            let bytes = pages(&records);
            for piece in [PAGE, 1000, bytes.len()] {
                let found = marks(&bytes, piece);
                let kinds: Vec<_> = found.iter().map(|(mark, _)| mark.clone()).collect();
                let expected = [
                    Mark::Name("before six".to_owned()),
                    Mark::Transaction(42),
                    Mark::Transaction(77),
                ];
                assert_eq!(kinds, expected, "{filler} {piece}");
                assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].1));
                assert!(found.iter().all(|(_, at)| at % 8 == 0));
            }
        }
    }

    #[test]
    fn the_last_time_is_that_of_the_last_transaction_or_restore_point() {
        let micros = |seconds: i64| (seconds * 1_000_000).to_le_bytes();
        let mut reader = Records::new(Lsn(1 << 20), |_, _| {});
        assert_eq!(reader.last_time(), None);
        let records = [
            record(1, 0x00, 42, &micros(5)),
            record(1, 0x20, 43, &micros(7)),
            record(1, 0x10, 44, &micros(9)), // prepares, and does not end
        ];
        reader.write_all(&pages(&records)).unwrap();
        let time = reader.last_time().unwrap();
        assert_eq!(time.to_string(), "2000-01-01T00:00:07Z");
    }

    #[test]
    fn a_reader_that_begins_in_the_middle_of_a_record_goes_on_with_the_next() {
        let bytes = pages(&[record(10, 0, 5, &vec![1; PAGE * 2]), restore_point("x")]);
        assert_eq!(marks(&bytes[PAGE..], 4096).len(), 1);
        let mut torn = bytes.clone();
        torn[PAGE..2 * PAGE].fill(0);
        assert_eq!(marks(&torn, 4096).len(), 1);
        assert!(marks(&vec![0xFF; PAGE * 4], 4096).is_empty());
    }
}
