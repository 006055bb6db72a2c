//! The long page header at the start of every segment: whose WAL it is and where it belongs.
//!
//! Checked when a segment enters the repository and again when it leaves: a segment of another
//! cluster, of another place, or of no cluster at all never passes. Layout (little endian): magic
//! u16 @0, flags u16 @2, timeline u32 @4, page address u64 @8, system identifier u64 @24, segment
//! size u32 @32, WAL block size u32 @36.

use crate::error::{Error, Result};
use crate::wal::name::Segment;

/// Bytes of a segment that [`Header::parse`] wants.
pub(crate) const LENGTH: usize = 40;

const LONG_HEADER: u16 = 0x0002;

/// WAL page magic of each supported major version.
const MAGICS: [(u16, u32); 7] = [
    (0xD106, 13),
    (0xD10D, 14),
    (0xD110, 15),
    (0xD113, 16),
    (0xD116, 17),
    (0xD118, 18),
    (0xD121, 19),
];

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Major version that wrote it.
    pub(crate) version: u32,
    /// Timeline of the first page: that of the name, or an ancestor's in the segment where a
    /// timeline begins.
    pub(crate) timeline: u32,
    /// WAL position of the first byte.
    pub(crate) address: u64,
    /// Identifier of the cluster.
    pub(crate) system_identifier: u64,
    /// Size of every segment of the cluster.
    pub(crate) segment_size: u32,
}

impl Header {
    /// Read the header from the first bytes of a segment.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not the start of a WAL segment.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let read = || {
            let magic = u16::from_le_bytes(field(bytes, 0)?);
            let flags = u16::from_le_bytes(field(bytes, 2)?);
            let version = MAGICS.iter().find(|(value, _)| *value == magic)?.1;
            let header = Self {
                version,
                timeline: u32::from_le_bytes(field(bytes, 4)?),
                address: u64::from_le_bytes(field(bytes, 8)?),
                system_identifier: u64::from_le_bytes(field(bytes, 24)?),
                segment_size: u32::from_le_bytes(field(bytes, 32)?),
            };
            let sane_size = header.segment_size.is_power_of_two()
                && (1 << 20..=1 << 30).contains(&header.segment_size);
            (flags & LONG_HEADER != 0 && sane_size).then_some(header)
        };
        read().ok_or_else(|| {
            Error::Corrupt("not a WAL segment of PostgreSQL 13 to 19: bad page header".to_owned())
        })
    }

    /// Hold the header against the name it goes by and the cluster it should be of.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another cluster, segment size or major version (a cluster keeps its
    /// own: `pg_upgrade` makes another one), [`Error::Corrupt`] for another place in the WAL.
    pub(crate) fn check(
        &self,
        name: &str,
        system_identifier: u64,
        segment_size: u32,
        version: u32,
    ) -> Result<()> {
        if self.system_identifier != system_identifier {
            return Err(Error::Mismatch(format!(
                "segment {name} is of system {}, the stanza is for system {system_identifier}",
                self.system_identifier
            )));
        }
        if self.version != version {
            return Err(Error::Mismatch(format!(
                "segment {name} is of PostgreSQL {}, the stanza is for {version}",
                self.version
            )));
        }
        if self.segment_size != segment_size {
            return Err(Error::Mismatch(format!(
                "segment {name} has segment size {}, the stanza has {segment_size}",
                self.segment_size
            )));
        }
        let segment = Segment::parse(name, segment_size).ok_or_else(|| {
            Error::Corrupt(format!("{name} is no segment name for segment size {segment_size}"))
        })?;
        if segment.number.checked_mul(u64::from(segment_size)) != Some(self.address) {
            return Err(Error::Corrupt(format!(
                "segment {name} begins with page address {:X}/{:X}, which is not its place",
                self.address >> 32,
                self.address & 0xFFFF_FFFF
            )));
        }
        if self.timeline > segment.timeline {
            return Err(Error::Corrupt(format!(
                "segment {name} begins with a page of timeline {}",
                self.timeline
            )));
        }
        Ok(())
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{Header, LENGTH};
    use crate::error::Error;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        bytes[0..2].copy_from_slice(&0xD110_u16.to_le_bytes());
        bytes[2] = 2;
        bytes[4] = 1;
        bytes[8..16].copy_from_slice(&(3_u64 << 24).to_le_bytes());
        bytes[24..32].copy_from_slice(&77_u64.to_le_bytes());
        bytes[32..36].copy_from_slice(&(16_u32 << 20).to_le_bytes());
        bytes
    }

    #[test]
    fn a_segment_passes_only_in_its_own_place() {
        let header = Header::parse(&sample()).unwrap();
        assert_eq!(header.version, 15);
        header.check("000000010000000000000003", 77, 16 << 20, 15).unwrap();
        header.check("000000020000000000000003", 77, 16 << 20, 15).unwrap();
        let other_place = header.check("000000010000000000000004", 77, 16 << 20, 15);
        assert!(matches!(other_place, Err(Error::Corrupt(_))));
        for (system, size, version) in [(78, 16 << 20, 15), (77, 1 << 20, 15), (77, 16 << 20, 16)] {
            let checked = header.check("000000010000000000000003", system, size, version);
            assert!(matches!(checked, Err(Error::Mismatch(_))), "{system} {size} {version}");
        }
    }

    #[test]
    fn anything_else_is_no_segment() {
        assert!(Header::parse(&[]).is_err());
        assert!(Header::parse(&[0; LENGTH]).is_err());
        for (at, value) in [(0, 0), (2, 0), (33, 1)] {
            let mut bytes = sample();
            bytes[at] = value;
            assert!(Header::parse(&bytes).is_err(), "byte {at}");
        }
    }
}
