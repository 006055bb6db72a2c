//! Positions in the WAL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::wal::name::Segment;

/// A byte position in the WAL, written `HI/LO` in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// The segment this position lies in.
    pub(crate) fn segment(self, timeline: u32, segment_size: u32) -> Segment {
        Segment { timeline, number: self.0 / u64::from(segment_size) }
    }

    /// The segment of the last byte before this position: a backup that ends on a boundary does not
    /// need the next segment.
    pub(crate) fn segment_before(self, timeline: u32, segment_size: u32) -> Segment {
        Self(self.0.saturating_sub(1)).segment(timeline, segment_size)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('/').and_then(|(high, low)| {
            let high = u32::from_str_radix(high, 16).ok()?;
            let low = u32::from_str_radix(low, 16).ok()?;
            Some(Self(u64::from(high) << 32 | u64::from(low)))
        });
        parsed
            .ok_or_else(|| Error::Usage(format!("\"{text}\" is not a WAL position like 0/3000060")))
    }
}

impl TryFrom<String> for Lsn {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn text_form_round_trips() {
        let lsn: Lsn = "A/30000F0".parse().unwrap();
        assert_eq!(lsn.0, 0xA_030000F0);
        assert_eq!(lsn.to_string(), "A/30000F0");
        assert!("A".parse::<Lsn>().is_err());
        assert!("A/123456789".parse::<Lsn>().is_err());
    }

    #[test]
    fn a_position_on_a_boundary_ends_in_the_segment_before() {
        let lsn = Lsn(32 << 20);
        assert_eq!(lsn.segment(1, 16 << 20).number, 2);
        assert_eq!(lsn.segment_before(1, 16 << 20).number, 1);
    }
}
