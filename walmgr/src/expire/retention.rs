//! Which backups are kept. Pure: the same history, rules and time give the same answer.

use std::time::Duration;

use jiff::Timestamp;

use crate::backup::info::BackupInfo;
use crate::expire::tiers::Tiers;
use crate::history::History;
use crate::history::order;

/// Why a backup is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The rules keep it.
    ByRule,
    /// The rules do not, but it is the newest good one on the way to the newest timeline: without
    /// it, nothing leads to the present.
    ForThePresent,
    /// The operator has pinned it. Only the WAL of its own is needed.
    Pinned,
    /// A tier keeps it. Only the WAL of its own is needed.
    ByTier,
}

/// The rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// Number of backups.
    pub(crate) keep: Option<usize>,
    /// Span of time.
    pub(crate) window: Option<Duration>,
    /// Single backups of longer ago.
    pub(crate) tiers: Tiers,
}

/// For each backup of a history, in its order, whether it is kept and why.
///
/// All rules together keep what any keeps. A backup that is damaged, lacks its WAL, or lost the WAL
/// after it by an earlier expire, does not count as one of `keep`, nor as the beginning of a
/// window. The newest good backup on the way to the newest timeline is always kept, and the newest
/// good one of all, or the newest when none is good. So is what is pinned.
pub(crate) fn kept(history: &History, rules: &Rules, now: Timestamp) -> Vec<Option<Kept>> {
    let all: Vec<&BackupInfo> = history.backups.iter().collect();
    let is_good: Vec<bool> = all.iter().map(|backup| history.is_good(backup)).collect();
    let good = |backup: &BackupInfo| {
        all.iter().zip(&is_good).any(|(other, good)| *good && other.id == backup.id)
    };
    let mut ruled: Vec<&BackupInfo> = Vec::new();
    if let Some(keep) = rules.keep {
        let good_at: Vec<usize> =
            (0..all.len()).filter(|at| is_good.get(*at) == Some(&true)).collect();
        let first = good_at.len().checked_sub(keep.max(1)).and_then(|at| good_at.get(at));
        ruled.extend(all.iter().skip(first.copied().unwrap_or(0)));
    }
    if let Some(window) = rules.window {
        let start = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        let mut ways: Vec<u32> = history.newest_timeline().into_iter().collect();
        ways.extend(all.iter().filter(|one| one.stop_time > start).map(|one| one.timeline));
        ways.sort_unstable();
        ways.dedup();
        let chains = ways.into_iter().map(|way| history.chain(way));
        for chain in chains.chain([all.clone()]) {
            // To get to the beginning of the window, one needs the last backup before it.
            let before = order::complete_at(&chain, start, now, good);
            ruled.extend(chain.into_iter().skip(before.unwrap_or(0)));
        }
    }
    ruled.extend(history.best(&all));
    let present = history
        .newest_timeline()
        .and_then(|newest| history.best(&history.chain(newest)).map(|best| best.id.clone()));
    let by_tier = by_tier(history, &rules.tiers, now);
    let decide = |backup: &&BackupInfo| {
        if ruled.iter().any(|kept| kept.id == backup.id) {
            Some(Kept::ByRule)
        } else if present.as_ref() == Some(&backup.id) {
            Some(Kept::ForThePresent)
        } else if backup.pin.as_ref().is_some_and(|pin| pin.holds(now)) {
            Some(Kept::Pinned)
        } else {
            by_tier.contains(&backup.id.as_str()).then_some(Kept::ByTier)
        }
    };
    all.iter().map(decide).collect()
}

/// The backups that tiers keep: of those that can be restored.
fn by_tier<'a>(history: &'a History, tiers: &Tiers, now: Timestamp) -> Vec<&'a str> {
    if tiers.is_empty() {
        return Vec::new();
    }
    let newest = history.newest_timeline();
    let leads = |one: &BackupInfo| newest.is_some_and(|newest| history.leads(one, newest));
    let sound: Vec<(&BackupInfo, bool)> = history
        .backups
        .iter()
        .filter(|backup| history.is_sound(backup))
        .map(|backup| (backup, leads(backup)))
        .collect();
    let decided = sound.iter().zip(tiers.kept(&sound, now));
    decided.filter(|(_, kept)| *kept).map(|((backup, _), _)| backup.id.as_str()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{Kept, Rules, kept};
    use crate::backup::info::BackupInfo;
    use crate::backup::pin::Pin;
    use crate::expire::tiers::Tiers;
    use crate::history::History;
    use crate::history::runs::Runs;
    use crate::history::timelines::Timelines;
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;

    /// A backup that ends ten bytes after its start.
    pub(crate) fn backup(hour: i64, timeline: u32, start: u64) -> BackupInfo {
        BackupInfo {
            format: 1,
            id: format!("{hour:04}"),
            label: String::new(),
            manifest_hash: String::new(),
            system_identifier: "1".to_owned(),
            pg_version: 15,
            from_standby: false,
            timeline,
            start_lsn: Lsn(start),
            stop_lsn: Lsn(start + 10),
            start_wal: String::new(),
            stop_wal: String::new(),
            start_time: at(hour),
            stop_time: at(hour),
            files: 1,
            size: 1,
            added: 1,
            shares_with: Vec::new(),
            tablespaces: std::collections::BTreeMap::new(),
            damaged_pages: Vec::new(),
            databases: std::collections::BTreeMap::new(),
            logs_hints: false,
            pin: None,
            standalone: false,
        }
    }

    /// Hours after the epoch.
    pub(crate) fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    /// All WAL of timeline 1 and of these, which branched off another, is there, in segments of 100
    /// bytes.
    fn history(ancestry: &[(u32, u32, u64)], backups: Vec<BackupInfo>) -> History {
        let histories = ancestry.iter().map(|(timeline, parent, end)| {
            (*timeline, vec![Ancestor { timeline: *parent, end: Lsn(*end) }])
        });
        let mut wal = Runs::default();
        wal.set(1, 0..100);
        for (timeline, _, _) in ancestry {
            wal.set(*timeline, 0..100);
        }
        History::new(100, Timelines::new(histories), backups, wal)
    }

    fn line(backups: Vec<BackupInfo>) -> History {
        history(&[], backups)
    }

    fn keeps(history: &History, keep: Option<usize>, hours: Option<u64>, now: i64) -> Vec<bool> {
        let window = hours.map(|hours| Duration::from_secs(hours * 3600));
        let rules = Rules { keep, window, ..Rules::default() };
        kept(history, &rules, at(now)).iter().map(Option::is_some).collect()
    }

    fn four() -> Vec<BackupInfo> {
        (1..=4).map(|hour| backup(hour, 1, u64::try_from(hour).unwrap() * 100)).collect()
    }

    #[test]
    fn the_newest_are_kept_and_damaged_ones_do_not_count() {
        assert_eq!(keeps(&line(four()), Some(2), None, 9), [false, false, true, true]);
        let mut damaged = four();
        damaged[3].damaged_pages.push("x".to_owned());
        let damaged = line(damaged);
        assert_eq!(keeps(&damaged, Some(2), None, 9), [false, true, true, true]);
        assert_eq!(keeps(&damaged, Some(0), None, 9), [false, false, true, true]);
        // Neither does one whose WAL is gone.
        let mut gone = line(four());
        gone.wal.set(1, 0..4);
        assert_eq!(keeps(&gone, Some(2), None, 9), [false, true, true, true]);
    }

    #[test]
    fn a_window_needs_the_backup_before_it() {
        let history = line(four());
        assert_eq!(keeps(&history, None, Some(2), 4), [false, true, true, true]);
        assert_eq!(keeps(&history, None, Some(1), 99), [false, false, false, true]);
        assert_eq!(keeps(&history, Some(4), Some(1), 99), [true; 4]);
        assert!(keeps(&line(vec![]), Some(1), Some(1), 1).is_empty());
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_make_a_backup_the_newest_or_old() {
        let mut ahead = four();
        ahead[1].stop_time = at(90_000);
        assert_eq!(keeps(&line(ahead.clone()), Some(1), None, 9), [false, false, false, true]);
        assert_eq!(keeps(&line(ahead), None, Some(1), 99), [false, false, false, true]);
        let mut behind = four();
        behind[2].stop_time = at(0);
        assert_eq!(keeps(&line(behind.clone()), None, Some(3), 4), [true; 4]);
        assert_eq!(keeps(&line(behind), Some(1), None, 4), [false, false, false, true]);
    }

    #[test]
    fn what_leads_to_the_present_stays() {
        // Restored to a time before the second backup, which is on timeline 1 for ever.
        let history = history(&[(2, 1, 250)], vec![backup(1, 1, 100), backup(2, 1, 300)]);
        let rules = Rules { keep: Some(1), ..Rules::default() };
        let decisions = kept(&history, &rules, at(9));
        assert_eq!(decisions, [Some(Kept::ForThePresent), Some(Kept::ByRule)]);
        // A window on the present needs the backup from before the branch; one on what was left
        // behind does not come into it.
        let mut later = history.clone();
        later.backups.push(backup(8, 2, 500));
        assert_eq!(keeps(&later, None, Some(3), 9), [true, true, true]);
        assert_eq!(keeps(&later, Some(1), None, 9), [false, false, true]);
    }

    #[test]
    fn pins_and_tiers_keep_backups_for_themselves() {
        let mut pinned = four();
        let pin = |until| Pin { since: at(0), until, reason: String::new() };
        pinned[0].pin = Some(pin(None));
        pinned[1].pin = Some(pin(Some(at(7))));
        pinned[3].pin = Some(pin(None));
        let history = line(pinned);
        let rules = Rules { keep: Some(1), ..Rules::default() };
        let (by_rule, by_pin) = (Some(Kept::ByRule), Some(Kept::Pinned));
        assert_eq!(kept(&history, &rules, at(6)), [by_pin, by_pin, None, by_rule]);
        assert_eq!(kept(&history, &rules, at(7)), [by_pin, None, None, by_rule]);
        let tiers = Tiers { daily: 2, ..Tiers::default() };
        let rules = Rules { tiers, ..rules };
        let mut days = four();
        for (backup, day) in days.iter_mut().zip([0, 0, 1, 2]) {
            backup.stop_time = at(day * 24);
        }
        days[2].damaged_pages.push("x".to_owned());
        let history = line(days);
        // A damaged one is no backup of its day.
        assert_eq!(kept(&history, &rules, at(99)), [None, Some(Kept::ByTier), None, by_rule]);
    }

    #[test]
    fn what_lost_its_wal_by_an_expire_keeps_nothing_restorable() {
        let mut all = four();
        all[2].standalone = true;
        let history = line(all);
        assert_eq!(keeps(&history, Some(2), None, 9), [false, true, true, true]);
        assert_eq!(keeps(&history, None, Some(1), 4), [false, true, true, true]);
    }

    proptest! {
        #[test]
        fn a_sound_backup_always_stays(
            damaged in prop::collection::vec(any::<bool>(), 1..8),
            keep in prop::option::of(0usize..5), hours in prop::option::of(0u64..10),
            now in 0i64..20,
        ) {
            let backups: Vec<_> = damaged.iter().zip(1..).map(|(damaged, hour)| {
                let mut backup = backup(hour, 1, u64::try_from(hour).unwrap() * 100);
                if *damaged { backup.damaged_pages.push("x".to_owned()); }
                backup
            }).collect();
            let history = line(backups);
            let kept = keeps(&history, keep, hours, now);
            let sound = |at: &usize| history.backups[*at].damaged_pages.is_empty();
            let count = history.backups.len();
            let any_sound = (0..count).any(|at| sound(&at));
            prop_assert!(!any_sound || (0..count).any(|at| kept[at] && sound(&at)));
            prop_assert!(kept.iter().any(|kept| *kept));
        }
    }
}
