//! Which backup to restore.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::backup::info::BackupInfo;
use crate::error::{Error, Result};
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

/// The backup to start from: the named one, or the newest that is complete before the target.
///
/// # Errors
/// [`Error::NotFound`] when there is none, [`Error::Usage`] when the named one ends after the target.
pub(crate) fn select<'a>(
    backups: &'a [BackupInfo],
    id: Option<&str>,
    target: &Target,
) -> Result<&'a BackupInfo> {
    let before_target = |backup: &BackupInfo| match target {
        Target::Time(time) => backup.stop_time <= *time,
        Target::Lsn(lsn) => backup.stop_lsn <= *lsn,
        _ => true,
    };
    if let Some(id) = id {
        let backup = backups
            .iter()
            .find(|backup| backup.id == id)
            .ok_or_else(|| Error::NotFound(format!("backup \"{id}\" does not exist")))?;
        if !before_target(backup) {
            return Err(Error::Usage(format!("backup {id} was complete only after the target")));
        }
        return Ok(backup);
    }
    let usable = || backups.iter().filter(|backup| before_target(backup));
    // A backup of damaged pages is better than none, and only then.
    usable()
        .rfind(|backup| backup.damaged_pages.is_empty())
        .or_else(|| usable().next_back())
        .ok_or_else(|| match backups.len() {
            0 => Error::NotFound("there is no backup".to_owned()),
            _ => Error::NotFound("no backup was complete before the target".to_owned()),
        })
}

#[cfg(test)]
mod tests {
    use super::parse_time;

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
    }
}
