//! When a cron expression is next, on the clock of a time zone.
//!
//! Crate croner knows the expressions, and what becomes of them where a clock is set forward or
//! back: a time of the day that does not exist is made up for right after the gap, and one that
//! comes twice counts once; what comes every so many minutes or hours goes by what the clock shows.
//! The clocks are the server's, so that a zone is the same here as in SQL.

use std::cmp::Ordering;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDateTime, CronDateTime, Resolution, Weekday};

const DAY: i64 = 86_400;

/// How far local time is ahead of UTC.
pub trait Clock {
    /// Seconds ahead, at a time in seconds since 1970.
    fn ahead(&self, seconds: i64) -> i64;
}

/// The expression is none, or none that ever comes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadCron(String);

/// The first time after `after`, in seconds since 1970, that an expression of five fields is for.
pub fn next(expression: &str, after: i64, clock: &impl Clock) -> Result<i64, BadCron> {
    let bad = |error: CronError| BadCron(error.to_string());
    let cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(expression)
        .map_err(bad)?;
    let begin = Moment { seconds: after, clock };
    Ok(cron.find_next_occurrence(&begin, false).map_err(bad)?.seconds)
}

struct Moment<'c, C> {
    seconds: i64,
    clock: &'c C,
}

impl<C> Clone for Moment<'_, C> {
    fn clone(&self) -> Self {
        Self { seconds: self.seconds, clock: self.clock }
    }
}

impl<C: Clock> Moment<'_, C> {
    fn local(&self) -> i64 {
        self.seconds.saturating_add(self.clock.ahead(self.seconds))
    }

    fn at(&self, seconds: i64) -> Self {
        Self { seconds, clock: self.clock }
    }
}

impl<C: Clock> CronDateTime for Moment<'_, C> {
    fn to_civil(&self) -> CivilDateTime {
        let local = self.local();
        let (year, month, day) = date(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        let part = |value: i64| u32::try_from(value).expect("a part of a day is small");
        CivilDateTime::from_ymd_hms_opt(
            i32::try_from(year).unwrap_or(i32::MAX),
            month,
            day,
            part(second / 3600),
            part(second / 60 % 60),
            part(second % 60),
        )
        .expect("made of a number of days")
    }

    fn civil_weekday(&self) -> Weekday {
        // 1970-01-01 was a Thursday.
        let days = (self.local().div_euclid(DAY) + 4).rem_euclid(7);
        Weekday::from_days_from_sunday(u32::try_from(days).expect("below seven"))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let days = number(civil.year().into(), civil.month(), civil.day());
        let seconds = civil.hour() * 3600 + civil.minute() * 60 + civil.second();
        let local = days * DAY + i64::from(seconds);
        let mut found: Vec<i64> = [local - DAY, local, local + DAY]
            .into_iter()
            .map(|near| local - self.clock.ahead(near))
            .filter(|&seconds| seconds + self.clock.ahead(seconds) == local)
            .collect();
        found.sort_unstable();
        found.dedup();
        Ok(match found[..] {
            [] => Resolution::Gap,
            [one] => Resolution::Single(self.at(one)),
            [first, .., last] => Resolution::Ambiguous(self.at(first), self.at(last)),
        })
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        Some(self.at(self.seconds.checked_add(seconds)?))
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.seconds.cmp(&other.seconds)
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Years begin in
/// March here, so that the leap day is the last one.
fn date(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let small = |value: i64| u32::try_from(value).expect("below 32");
    let of_month = small(day - (153 * month + 2) / 5 + 1);
    let month = small(if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + i64::from(month <= 2), month, of_month)
}

/// The day's number.
fn number(year: i64, month: u32, day: u32) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Central Europe in 2026: an hour ahead, two from March 29 to October 25, each 1:00 UTC.
    struct Europe;

    const SPRING: i64 = 1_774_746_000;
    const AUTUMN: i64 = 1_792_890_000;

    impl Clock for Europe {
        fn ahead(&self, seconds: i64) -> i64 {
            if (SPRING..AUTUMN).contains(&seconds) { 7200 } else { 3600 }
        }
    }

    struct Utc;

    impl Clock for Utc {
        fn ahead(&self, _: i64) -> i64 {
            0
        }
    }

    fn times(expression: &str, mut after: i64, clock: &impl Clock, count: usize) -> Vec<i64> {
        std::iter::repeat_with(|| {
            after = next(expression, after, clock).unwrap();
            after
        })
        .take(count)
        .collect()
    }

    #[test]
    fn a_time_that_does_not_exist_is_made_up_for_after_the_gap() {
        // 2:30, on March 28, 29 and 30.
        let found = times("30 2 * * *", SPRING - DAY, &Europe, 3);
        assert_eq!(found, [SPRING - DAY + 1800, SPRING, SPRING + DAY - 1800]);
    }

    #[test]
    fn a_time_that_comes_twice_counts_once() {
        let found = times("30 2 * * *", AUTUMN - 30 * 3600, &Europe, 3);
        assert_eq!(found, [AUTUMN - DAY - 1800, AUTUMN - 1800, AUTUMN + DAY + 1800]);
    }

    #[test]
    fn what_comes_every_half_hour_does_so_all_the_time() {
        for change in [SPRING, AUTUMN] {
            let found = times("*/30 * * * *", change - 3600, &Europe, 6);
            assert_eq!(found, (1..=6).map(|n| change - 3600 + 1800 * n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn leap_days_come_in_leap_years() {
        let found = times("0 0 29 2 *", 0, &Utc, 3);
        assert_eq!(found, [68_169_600, 194_400_000, 320_630_400]);
        // There is none in 2100.
        let found = times("0 0 29 feb *", number(2096, 3, 1) * DAY, &Utc, 1);
        assert_eq!(found, [number(2104, 2, 29) * DAY]);
    }

    #[test]
    fn names_and_bad_expressions_are_known() {
        let found = times("0 9 * * mon-fri", number(2026, 11, 27) * DAY, &Utc, 2);
        assert_eq!(found, [27, 30].map(|day| number(2026, 11, day) * DAY + 9 * 3600));
        for bad in ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "a b c d e"] {
            assert!(next(bad, 0, &Utc).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_date_is_its_number(days in -800_000i64..3_000_000) {
            let (year, month, day) = date(days);
            prop_assert_eq!(number(year, month, day), days);
        }
    }
}
