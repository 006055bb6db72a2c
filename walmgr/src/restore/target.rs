//! What an operator may ask for: an end of recovery, and a timeline that leads there.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::backup::info::BackupInfo;
use crate::error::{Error, Result};
use crate::history::History;
use crate::wal::lsn::Lsn;

/// Where recovery shall end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// At the end of all WAL.
    End,
    /// As soon as the backup is consistent.
    Immediate,
    /// At a time.
    Time(Timestamp),
    /// At a position.
    Lsn(Lsn),
    /// At a restore point.
    Name(String),
    /// At a transaction.
    Xid(u64),
}

/// The timeline that recovery shall follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The newest.
    Latest,
    /// The backup's own.
    Current,
    /// This one.
    Number(u32),
    /// This one, which a primary is on, and those that come after it.
    Primary(u32),
}

impl Line {
    /// What it comes to for a backup.
    pub(crate) fn of(self, history: &History, backup: &BackupInfo) -> u32 {
        match self {
            Self::Current => backup.timeline,
            Self::Number(number) | Self::Primary(number) => number,
            Self::Latest => history.newest_timeline().unwrap_or(backup.timeline),
        }
    }
}

/// What shall be restored.
#[derive(Clone, Debug)]
pub(crate) struct Wanted<'a> {
    /// The backup, if the operator named one.
    pub(crate) id: Option<&'a str>,
    /// Where recovery shall end.
    pub(crate) target: &'a Target,
    /// Where a name or a transaction is in the WAL, as far as that is known.
    pub(crate) position: Option<Lsn>,
    /// Along which timeline.
    pub(crate) line: Line,
    /// A standby gets WAL from elsewhere as well, and waits for what is not there yet.
    pub(crate) standby: bool,
    /// The time now.
    pub(crate) now: Timestamp,
}

impl Wanted<'_> {
    /// Where the target is in the WAL, as far as that is known.
    pub(crate) fn place(&self) -> Option<Lsn> {
        match self.target {
            Target::Lsn(position) => Some(*position),
            _ => self.position,
        }
    }
}

/// Read a timeline as it is given.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn parse_line(text: &str) -> Result<Line> {
    match text {
        "latest" => Ok(Line::Latest),
        "current" => Ok(Line::Current),
        number => match number.parse() {
            Ok(number @ 1..) => Ok(Line::Number(number)),
            _ => Err(Error::Usage(format!("\"{text}\" is no timeline"))),
        },
    }
}

/// Read a time as people write it: with a zone or offset, or local.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn parse_time(text: &str) -> Result<Timestamp> {
    let bad = || {
        Error::Usage(format!(
            "\"{text}\" is no time such as 2026-01-31 12:00:00+01 or 2026-01-31T11:00:00Z"
        ))
    };
    let text = text.trim();
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // PostgreSQL prints offsets by hours alone.
    if let Ok(time) = format!("{text}:00").parse::<Timestamp>() {
        return Ok(time);
    }
    let local: DateTime = text.parse().map_err(|_| bad())?;
    TimeZone::system().to_timestamp(local).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::{parse_line, parse_time};

    #[test]
    fn times_are_read_as_people_and_the_server_write_them() {
        let expected = "2026-11-24T15:00:00Z";
        for text in [
            "2026-11-24T15:00:00Z",
            "2026-11-24 15:00:00+00",
            "2026-11-24 16:00:00+01:00",
            "2026-11-24 10:00:00.000-05",
        ] {
            assert_eq!(parse_time(text).unwrap().to_string(), expected, "{text}");
        }
        assert!(parse_time("2026-11-24 15:00").is_ok());
        assert!(parse_time("yesterday").is_err());
        assert!(parse_line("0").is_err() && parse_line("newest").is_err());
    }
}
