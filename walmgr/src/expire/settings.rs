//! What the configuration says of expiring.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::error::Result;
use crate::value::{opt_duration, opt_zone, within};

/// How long backups are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expire {
    /// Keep this many newest backups.
    pub(crate) keep: Option<usize>,
    /// Keep what is needed to restore to any time in this last span.
    #[serde(deserialize_with = "opt_duration")]
    pub(crate) window: Option<Duration>,
    /// Keep the newest backup of each of this many last days that have one.
    pub(crate) daily: Option<usize>,
    /// The same of weeks, which begin on Monday.
    pub(crate) weekly: Option<usize>,
    /// The same of months.
    pub(crate) monthly: Option<usize>,
    /// The same of years.
    pub(crate) yearly: Option<usize>,
    /// Where days begin at midnight; else UTC.
    #[serde(deserialize_with = "opt_zone")]
    pub(crate) time_zone: Option<TimeZone>,
}

impl Expire {
    /// Refuse numbers that mean nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let counts = [
            ("expire.keep", self.keep, 1_000_000),
            ("expire.daily", self.daily, 100_000),
            ("expire.weekly", self.weekly, 100_000),
            ("expire.monthly", self.monthly, 100_000),
            ("expire.yearly", self.yearly, 100_000),
        ];
        for (name, count, most) in counts {
            if let Some(count) = count {
                within(name, count, 1..=most)?;
            }
        }
        Ok(())
    }
}
