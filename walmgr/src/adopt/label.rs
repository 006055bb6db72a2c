//! What `backup_label` and the backup history file say about a base backup.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::wal::lsn::Lsn;

/// The lines `KEY: VALUE` of such a file.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    text: String,
    what: String,
}

impl Label {
    /// Take a text; `what` names it in errors.
    pub(crate) fn new(text: String, what: String) -> Self {
        Self { text, what }
    }

    /// A value.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such line.
    pub(crate) fn value(&self, key: &str) -> Result<&str> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
            .ok_or_else(|| Error::Corrupt(format!("{} has no line {key}", self.what)))
    }

    /// The position in `LSN (file NAME)`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn lsn(&self, key: &str) -> Result<Lsn> {
        let value = self.value(key)?;
        let text = value.split_whitespace().next().unwrap_or_default();
        text.parse().map_err(|_| self.bad(key, value))
    }

    /// A number.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn number(&self, key: &str) -> Result<u32> {
        let value = self.value(key)?;
        value.parse().map_err(|_| self.bad(key, value))
    }

    /// A time. The server wrote it in its own zone by that zone's abbreviation, which only the zone
    /// itself can explain: UTC and the zone that is given are understood.
    ///
    /// # Errors
    /// [`Error::Usage`] for the abbreviation of another zone.
    pub(crate) fn time(&self, key: &str, zone: &TimeZone) -> Result<Timestamp> {
        let value = self.value(key)?;
        let bad = || self.bad(key, value);
        let (text, abbreviation) = value.rsplit_once(' ').ok_or_else(bad)?;
        let civil = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).map_err(|_| bad())?;
        if matches!(abbreviation, "UTC" | "GMT") {
            return TimeZone::UTC.to_timestamp(civil).map_err(|_| bad());
        }
        // An hour that occurs twice has two abbreviations.
        let ambiguous = zone.to_ambiguous_timestamp(civil);
        [ambiguous.earlier(), ambiguous.later()]
            .into_iter()
            .flatten()
            .find(|time| zone.to_offset_info(*time).abbreviation() == abbreviation)
            .ok_or_else(|| {
                Error::Usage(format!(
                    "{}: {key}: {value}: name the server's time zone with --time-zone",
                    self.what
                ))
            })
    }

    /// The whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn bad(&self, key: &str, value: &str) -> Error {
        Error::Corrupt(format!("{}: {key}: \"{value}\" is not understood", self.what))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::Label;

    fn label(time: &str) -> Label {
        let text = format!(
            "START WAL LOCATION: A/2000028 (file 000000010000000A00000002)\nSTART TIME: {time}\n\
             START TIMELINE: 3\n"
        );
        Label::new(text, "backup_label".to_owned())
    }

    #[test]
    fn lines_are_read() {
        let label = label("2026-01-31 12:00:00 UTC");
        assert_eq!(label.lsn("START WAL LOCATION").unwrap().0, 0xA_0200_0028);
        assert_eq!(label.number("START TIMELINE").unwrap(), 3);
        assert!(label.value("BACKUP METHOD").is_err());
        assert!(label.number("START TIME").is_err());
    }

    #[test]
    fn times_need_their_zone() {
        let utc = TimeZone::UTC;
        let time = |text: &str, zone: &TimeZone| label(text).time("START TIME", zone);
        let second = time("2026-01-31 12:00:00 GMT", &utc).unwrap().as_second();
        assert_eq!(second, 1_769_860_800);
        assert!(time("2026-01-31 13:00:00 CET", &utc).is_err());
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(time("2026-01-31 13:00:00 CET", &zone).unwrap().as_second(), second);
        assert!(time("2026-01-31 13:00:00 CEST", &zone).is_err(), "no summer in January");
        let twice = |name| time(&format!("2026-10-25 02:30:00 {name}"), &zone).unwrap();
        assert_eq!(twice("CET").as_second() - twice("CEST").as_second(), 3600);
    }
}
