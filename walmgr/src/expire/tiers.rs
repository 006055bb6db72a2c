//! Tiers: the newest backup of each of the last days, weeks, months and years that have one. Pure:
//! the same backups, tiers and time give the same answer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::backup::info::BackupInfo;

/// How many days, weeks, months and years keep a backup each.
#[derive(Clone, Debug)]
pub(crate) struct Tiers {
    /// Days.
    pub(crate) daily: usize,
    /// Weeks of ISO 8601, which begin on Monday.
    pub(crate) weekly: usize,
    /// Months.
    pub(crate) monthly: usize,
    /// Years.
    pub(crate) yearly: usize,
    /// Where days begin at midnight.
    pub(crate) zone: TimeZone,
}

impl Default for Tiers {
    fn default() -> Self {
        Self { daily: 0, weekly: 0, monthly: 0, yearly: 0, zone: TimeZone::UTC }
    }
}

/// A day, week, month or year: its year, and its number in it.
type Period = (i16, i16);

/// The period that a time is in.
type PeriodOf = fn(Timestamp, &TimeZone) -> Period;

fn day(time: Timestamp, zone: &TimeZone) -> Period {
    let date = zone.to_datetime(time).date();
    (date.year(), date.day_of_year())
}

fn week(time: Timestamp, zone: &TimeZone) -> Period {
    let week = zone.to_datetime(time).date().iso_week_date();
    (week.year(), week.week().into())
}

fn month(time: Timestamp, zone: &TimeZone) -> Period {
    let date = zone.to_datetime(time).date();
    (date.year(), date.month().into())
}

fn year(time: Timestamp, zone: &TimeZone) -> Period {
    (zone.to_datetime(time).date().year(), 0)
}

impl Tiers {
    /// True when there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.daily + self.weekly + self.monthly + self.yearly == 0
    }

    /// For each backup, in the order they were taken, whether a tier keeps it. Each comes with
    /// whether it leads to the present: of a period, such a one is preferred.
    pub(crate) fn kept(&self, backups: &[(&BackupInfo, bool)], now: Timestamp) -> Vec<bool> {
        let times = times(backups, now);
        let mut kept = vec![false; backups.len()];
        let tiers: [(usize, PeriodOf); 4] =
            [(self.daily, day), (self.weekly, week), (self.monthly, month), (self.yearly, year)];
        for (count, period) in tiers {
            let mut newest: BTreeMap<Period, (bool, usize)> = BTreeMap::new();
            for (at, ((_, leads), time)) in backups.iter().zip(&times).enumerate() {
                let best = newest.entry(period(*time, &self.zone)).or_insert((*leads, at));
                *best = (*best).max((*leads, at));
            }
            for (_, at) in newest.into_values().rev().take(count) {
                if let Some(kept) = kept.get_mut(at) {
                    *kept = true;
                }
            }
        }
        kept
    }
}

/// When the backups ended. A time that has not come yet is a clock's fault: such a backup is from
/// before the next one, or from now.
fn times(backups: &[(&BackupInfo, bool)], now: Timestamp) -> Vec<Timestamp> {
    let mut next = now;
    let mut times: Vec<Timestamp> = backups
        .iter()
        .rev()
        .map(|(backup, _)| {
            if backup.stop_time <= now {
                next = backup.stop_time;
            }
            next
        })
        .collect();
    times.reverse();
    times
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::{Offset, TimeZone};
    use proptest::prelude::*;

    use super::Tiers;
    use crate::backup::info::BackupInfo;
    use crate::expire::retention::tests::{at, backup};

    fn taken(hours: impl IntoIterator<Item = i64>) -> Vec<BackupInfo> {
        hours.into_iter().zip(1..).map(|(hour, n)| backup(hour, 1, n * 100)).collect()
    }

    fn kept(tiers: &Tiers, backups: &[BackupInfo], now: i64) -> Vec<bool> {
        let all: Vec<_> = backups.iter().map(|backup| (backup, true)).collect();
        tiers.kept(&all, at(now))
    }

    /// Hours of what is kept.
    fn hours(tiers: &Tiers, taken: &[BackupInfo], now: i64) -> Vec<i64> {
        let decided = taken.iter().zip(kept(tiers, taken, now));
        let left = decided.filter(|(_, kept)| *kept);
        left.map(|(backup, _)| backup.stop_time.as_second() / 3600).collect()
    }

    #[test]
    fn each_of_the_last_periods_that_have_one_keeps_its_newest() {
        // Two a day for a year, from Thursday the first of January 1970.
        let all = taken((0..365 * 2).map(|half| half * 12));
        let now = 365 * 24;
        let day = |day: i64| day * 24 + 12;
        let tiers = Tiers { daily: 3, ..Tiers::default() };
        assert_eq!(hours(&tiers, &all, now), [day(362), day(363), day(364)]);
        // The last Sunday is day 361, and the week goes on.
        let tiers = Tiers { weekly: 2, ..Tiers::default() };
        assert_eq!(hours(&tiers, &all, now), [day(361 - 1), day(364)]);
        let tiers = Tiers { monthly: 3, ..Tiers::default() };
        assert_eq!(hours(&tiers, &all, now), [day(303), day(333), day(364)]);
        let tiers = Tiers { yearly: 5, ..Tiers::default() };
        assert_eq!(hours(&tiers, &all, now), [day(364)]);
        // Days without a backup do not count, so a pause removes nothing.
        let tiers = Tiers { daily: 3, ..Tiers::default() };
        assert_eq!(hours(&tiers, &all, now + 9_999), [day(362), day(363), day(364)]);
        assert!(kept(&Tiers::default(), &all, now).iter().all(|kept| !kept));
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let all = taken([20, 23, 25, 47]);
        let zone = TimeZone::fixed(Offset::from_hours(2).unwrap());
        let utc = Tiers { daily: 9, ..Tiers::default() };
        assert_eq!(hours(&utc, &all, 99), [23, 47]);
        assert_eq!(hours(&Tiers { zone, ..utc }, &all, 99), [20, 25, 47]);
    }

    #[test]
    fn a_clock_that_was_wrong_costs_no_other_backup_its_place() {
        let mut all = taken((0..5).map(|day| day * 24));
        let tiers = Tiers { daily: 5, ..Tiers::default() };
        assert_eq!(kept(&tiers, &all, 100), [true; 5]);
        // Ten years ahead: it counts as from when the next one was taken.
        all[2].stop_time = at(90_000);
        assert_eq!(kept(&tiers, &all, 100), [true, true, false, true, true]);
        all[2].stop_time = at(48);
        all[4].stop_time = at(90_000);
        assert_eq!(kept(&tiers, &all, 100), [true; 5]);
        // Years behind: it has a day of its own, the oldest.
        all[4].stop_time = at(-90_000);
        assert_eq!(kept(&tiers, &all, 100), [true; 5]);
    }

    #[test]
    fn what_leads_to_the_present_is_preferred() {
        let all = taken([1, 2, 3]);
        let tiers = Tiers { daily: 1, ..Tiers::default() };
        let leads: Vec<_> = all.iter().zip([true, true, false]).collect();
        assert_eq!(tiers.kept(&leads, at(9)), [false, true, false]);
    }

    fn any_tiers() -> impl Strategy<Value = Tiers> {
        let count = || 0_usize..4;
        let zone =
            (-12_i8..=14).prop_map(|hours| TimeZone::fixed(Offset::from_hours(hours).unwrap()));
        (count(), count(), count(), count(), zone).prop_map(
            |(daily, weekly, monthly, yearly, zone)| Tiers { daily, weekly, monthly, yearly, zone },
        )
    }

    /// Backups whose clock goes on, and sometimes jumps.
    fn any_backups() -> impl Strategy<Value = Vec<BackupInfo>> {
        let step = prop_oneof![8 => 1_i64..400, 1 => -20_000_i64..20_000];
        prop::collection::vec(step, 0..40).prop_map(|steps| {
            let clock = steps.into_iter().scan(50_000, |clock, step| {
                *clock += step;
                Some(*clock)
            });
            taken(clock)
        })
    }

    proptest! {
        #[test]
        fn more_tiers_keep_more(
            one in any_tiers(), more in any_tiers(), all in any_backups(), now in 0_i64..90_000,
        ) {
            let both = Tiers {
                daily: one.daily + more.daily,
                weekly: one.weekly + more.weekly,
                monthly: one.monthly + more.monthly,
                yearly: one.yearly + more.yearly,
                zone: one.zone.clone(),
            };
            let (few, many) = (kept(&one, &all, now), kept(&both, &all, now));
            prop_assert!(few.iter().zip(&many).all(|(few, many)| !few || *many));
            let most = one.daily + one.weekly + one.monthly + one.yearly;
            let count = few.iter().filter(|kept| **kept).count();
            prop_assert!(count <= most);
            prop_assert!(count > 0 || most == 0 || all.is_empty());
            prop_assert_eq!(few, kept(&one, &all, now), "the same again");
        }

        #[test]
        fn what_was_kept_once_is_kept_again(
            tiers in any_tiers(), all in any_backups(), now in 0_i64..90_000,
        ) {
            let decided = all.iter().zip(kept(&tiers, &all, now));
            let left: Vec<_> =
                decided.filter(|(_, kept)| *kept).map(|(one, _)| one.clone()).collect();
            prop_assert!(kept(&tiers, &left, now).iter().all(|kept| *kept));
        }

        #[test]
        fn one_wrong_clock_costs_at_most_one_place_a_tier(
            tiers in any_tiers(), days in 1_i64..60, which in 0_usize..60,
            wrong in -90_000_i64..90_000,
        ) {
            let mut all = taken((0..days).map(|day| 50_000 + day * 24));
            let now = 50_000 + days * 24;
            let before = kept(&tiers, &all, now);
            let which = which % all.len();
            all[which].stop_time = Timestamp::from_second(wrong * 3600).unwrap();
            let after = kept(&tiers, &all, now);
            let lost = before.iter().zip(&after).enumerate()
                .filter(|(at, (before, after))| *at != which && **before && !**after).count();
            prop_assert!(lost <= 4, "{lost}");
        }
    }
}
