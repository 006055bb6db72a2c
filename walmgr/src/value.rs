//! Values of settings: with units, `"60s"`, `"15min"`, `"7d"`, and within bounds.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de};

use crate::error::{Error, Result};

/// Parse a duration; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|ch: char| !ch.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis).filter(|time| *time <= LONGEST)
}

/// A hundred years: clocks can be that far ahead.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

/// Deserialise a duration.
pub(crate) fn duration<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    parse_duration(&text).ok_or_else(|| {
        de::Error::custom(format!(
            "\"{text}\" is no duration, of a century at most, such as 500ms, 60s, 15min, 2h or 7d"
        ))
    })
}

/// Deserialise a duration that need not be there.
pub(crate) fn opt_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<Duration>, D::Error> {
    duration(from).map(Some)
}

/// Parse a rate; bytes a second.
fn parse_rate(text: &str) -> Option<u64> {
    let amount = text.trim().strip_suffix("/s")?;
    let digits = amount.find(|ch: char| !ch.is_ascii_digit())?;
    let (number, unit) = amount.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = match unit.trim() {
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit).filter(|rate| (SLOWEST..=FASTEST).contains(rate))
}

/// Slower, and a segment of 16 MiB would take longer than a server waits for the daemon.
const SLOWEST: u64 = 1_000_000;
/// Faster than anything there is.
const FASTEST: u64 = 1_000_000_000_000;

/// Deserialise a rate that need not be there.
pub(crate) fn opt_rate<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<u64>, D::Error> {
    let text = String::deserialize(from)?;
    parse_rate(&text).map(Some).ok_or_else(|| {
        de::Error::custom(format!(
            "\"{text}\" is no rate from 1MB/s to 1000GB/s, in kB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s"
        ))
    })
}

/// Deserialise the name of a time zone that need not be there.
pub(crate) fn opt_zone<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<TimeZone>, D::Error> {
    let name = String::deserialize(from)?;
    let zone = TimeZone::get(&name);
    zone.map(Some).map_err(|_| {
        de::Error::custom(format!("this host knows no time zone \"{name}\", such as Europe/Berlin"))
    })
}

/// Refuse a number that would be taken for another, or for nothing.
///
/// # Errors
/// [`Error::Usage`] with its bounds.
pub(crate) fn within(
    name: &str,
    value: impl TryInto<i64>,
    bounds: RangeInclusive<i64>,
) -> Result<()> {
    within_units(name, value, bounds, "")
}

/// The same of a time, with bounds in milliseconds.
///
/// # Errors
/// As [`within`].
pub(crate) fn millis_within(
    name: &str,
    value: Duration,
    bounds: RangeInclusive<i64>,
) -> Result<()> {
    within_units(name, value.as_millis(), bounds, " ms")
}

fn within_units(
    name: &str,
    value: impl TryInto<i64>,
    bounds: RangeInclusive<i64>,
    unit: &str,
) -> Result<()> {
    // What has no place in 64 bits is beyond any bounds.
    let value = value.try_into().unwrap_or(i64::MAX);
    if bounds.contains(&value) {
        return Ok(());
    }
    let (least, most) = bounds.into_inner();
    Err(Error::Usage(format!("{name} is {value}{unit}, and may be {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_duration, parse_rate};

    #[test]
    fn rates_have_units_and_bounds() {
        let right =
            [("50MB/s", 50_000_000), (" 2 MiB/s", 2 << 20), ("1000GB/s", 1_000_000_000_000)];
        for (text, rate) in right {
            assert_eq!(parse_rate(text), Some(rate), "{text}");
        }
        for text in [
            "",
            "/s",
            "50",
            "50MB",
            "MB/s",
            "5mb/s",
            "999kB/s",
            "1001GB/s",
            "-1MB/s",
            "99999999999GB/s",
        ] {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }

    #[test]
    fn units_are_read() {
        for (text, millis) in [("500ms", 500), ("2", 2000), ("1 min", 60_000), ("1d", 86_400_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "d", "-1s", "1w", "99999999999999999999s", "18446744073709551615d", "99999d"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
