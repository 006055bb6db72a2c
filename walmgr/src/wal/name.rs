//! Names of WAL files: what PostgreSQL hands to an archive command and asks of a restore command.

use std::fmt;

use crate::error::{Error, Result};

/// A whole WAL segment of one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    /// The timeline in the name.
    pub(crate) timeline: u32,
    /// Position divided by the segment size.
    pub(crate) number: u64,
}

/// A name that PostgreSQL archives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WalName {
    /// `TTTTTTTTHHHHHHHHLLLLLLLL`
    Segment(String),
    /// `TTTTTTTT.history`
    History(u32),
    /// `SEGMENT.OOOOOOOO.backup`
    Backup(String),
    /// `SEGMENT.partial`: the last, unfinished segment of a timeline that a promotion ended.
    Partial(String),
}

impl Segment {
    /// The name, which depends on the segment size.
    pub(crate) fn name(self, segment_size: u32) -> String {
        let per_id = segments_per_id(segment_size);
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / per_id, self.number % per_id)
    }

    /// Parse a 24-digit name; `None` when it is none, or none of this segment size.
    pub(crate) fn parse(name: &str, segment_size: u32) -> Option<Self> {
        if !is_segment(name) {
            return None;
        }
        let field = |from: usize| u32::from_str_radix(name.get(from..from + 8)?, 16).ok();
        let (timeline, high, low) = (field(0)?, field(8)?, field(16)?);
        let per_id = segments_per_id(segment_size);
        (timeline > 0 && u64::from(low) < per_id)
            .then(|| Self { timeline, number: u64::from(high) * per_id + u64::from(low) })
    }

    /// The segment after this one on the same timeline.
    pub(crate) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }
}

impl WalName {
    /// Parse a name.
    ///
    /// # Errors
    /// [`Error::Usage`] for any other name; such a name never reaches the repository.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let parsed = if is_segment(name) {
            Some(Self::Segment(name.to_owned()))
        } else if let Some(timeline) = name.strip_suffix(".history") {
            (timeline.len() == 8 && is_hex(timeline))
                .then(|| u32::from_str_radix(timeline, 16).ok().map(Self::History))
                .flatten()
        } else if let Some(segment) = name.strip_suffix(".partial") {
            is_segment(segment).then(|| Self::Partial(segment.to_owned()))
        } else if let Some(stem) = name.strip_suffix(".backup") {
            stem.split_once('.')
                .filter(|(segment, offset)| {
                    is_segment(segment) && offset.len() == 8 && is_hex(offset)
                })
                .map(|_| Self::Backup(name.to_owned()))
        } else {
            None
        };
        parsed.ok_or_else(|| Error::Usage(format!("\"{name}\" is not the name of a WAL file")))
    }

    /// The segment part of the name, where it has one.
    pub(crate) fn segment(&self) -> Option<&str> {
        match self {
            Self::Segment(name) | Self::Partial(name) => Some(name),
            Self::Backup(name) => name.get(..24),
            Self::History(_) => None,
        }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(name) | Self::Backup(name) => out.write_str(name),
            Self::Partial(name) => write!(out, "{name}.partial"),
            Self::History(timeline) => write!(out, "{timeline:08X}.history"),
        }
    }
}

/// True for 24 upper-case hexadecimal digits.
pub(crate) fn is_segment(name: &str) -> bool {
    name.len() == 24 && is_hex(name)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'))
}

/// How many segments share the middle eight digits of the name.
fn segments_per_id(segment_size: u32) -> u64 {
    (1 << 32) / u64::from(segment_size.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Segment, WalName};

    #[test]
    fn names_of_all_kinds_are_recognised() {
        for name in [
            "0000000100000000000000FF",
            "00000002.history",
            "0000000100000000000000FF.00000028.backup",
            "0000000100000000000000FF.partial",
        ] {
            assert_eq!(WalName::parse(name).unwrap().to_string(), name);
        }
        for name in [
            "",
            "0000000100000000000000ff",
            "0000000100000000000000FF0",
            "../0000000100000000000000",
            "000000010000000000000.history",
            "0000000100000000000000FF.28.backup",
            "RECOVERYXLOG",
        ] {
            assert!(WalName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn low_digits_beyond_the_segment_size_are_refused() {
        assert!(Segment::parse("000000010000000000000100", 16 << 20).is_none());
        assert!(Segment::parse("000000010000000000000100", 1 << 20).is_some());
        assert!(Segment::parse("000000000000000000000001", 1 << 20).is_none());
    }

    proptest! {
        #[test]
        fn names_round_trip_for_every_segment_size(
            timeline in 1u32.., position: u64, size_log in 20u32..=30,
        ) {
            let size = 1u32 << size_log;
            let segment = Segment { timeline, number: position / u64::from(size) };
            let name = segment.name(size);
            prop_assert_eq!(Segment::parse(&name, size), Some(segment));
            if segment.number < u64::MAX / u64::from(size) {
                prop_assert!(segment.next().name(size) > name);
            }
        }
    }
}
