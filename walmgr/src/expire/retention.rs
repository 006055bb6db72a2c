//! Which backups are kept. Pure: the same list, rules and time give the same answer.

use std::time::Duration;

use jiff::Timestamp;

use crate::backup::info::BackupInfo;

/// For each backup, oldest first, whether it is kept.
///
/// Both rules together keep what either keeps. A backup of damaged pages does not count as one of `keep`, and the newest sound backup is
/// always kept, or the newest at all when none is sound.
pub(crate) fn kept(
    backups: &[BackupInfo],
    keep: Option<usize>,
    window: Option<Duration>,
    now: Timestamp,
) -> Vec<bool> {
    let sound = |backup: &BackupInfo| backup.damaged_pages.is_empty();
    let mut kept = vec![false; backups.len()];
    let mut keep_from = |position: Option<usize>| {
        for slot in kept.iter_mut().skip(position.unwrap_or(usize::MAX)) {
            *slot = true;
        }
    };
    if let Some(keep) = keep {
        let sound_at: Vec<usize> = backups
            .iter()
            .enumerate()
            .filter(|(_, backup)| sound(backup))
            .map(|(at, _)| at)
            .collect();
        let first = sound_at.len().checked_sub(keep.max(1)).and_then(|at| sound_at.get(at));
        keep_from(Some(first.copied().unwrap_or(0)));
    }
    if let Some(window) = window {
        let start = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        // To get to the beginning of the window, one needs the last backup before it.
        let before = backups.iter().rposition(|backup| sound(backup) && backup.stop_time <= start);
        keep_from(Some(before.unwrap_or(0)));
    }
    let last = backups.iter().rposition(sound).or_else(|| backups.len().checked_sub(1));
    if let Some(slot) = last.and_then(|last| kept.get_mut(last)) {
        *slot = true;
    }
    kept
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::kept;
    use crate::backup::info::BackupInfo;
    use crate::wal::lsn::Lsn;

    pub(crate) fn backup(hour: i64, timeline: u32, start: u64) -> BackupInfo {
        let time = Timestamp::from_second(hour * 3600).unwrap();
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
            start_time: time,
            stop_time: time,
            files: 1,
            size: 1,
            added: 1,
            shares_with: Vec::new(),
            tablespaces: std::collections::BTreeMap::new(),
            damaged_pages: Vec::new(),
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(hours * 3600).unwrap()
    }

    #[test]
    fn the_newest_are_kept_and_damaged_ones_do_not_count() {
        let mut backups: Vec<_> = (1..=4).map(|hour| backup(hour, 1, 0)).collect();
        assert_eq!(kept(&backups, Some(2), None, at(9)), [false, false, true, true]);
        backups[3].damaged_pages.push("x".to_owned());
        assert_eq!(kept(&backups, Some(2), None, at(9)), [false, true, true, true]);
        assert_eq!(kept(&backups, Some(0), None, at(9)), [false, false, true, true]);
    }

    #[test]
    fn a_window_needs_the_backup_before_it() {
        let backups: Vec<_> = (1..=4).map(|hour| backup(hour, 1, 0)).collect();
        let window = Some(Duration::from_secs(5400));
        assert_eq!(kept(&backups, None, window, at(4)), [false, true, true, true]);
        assert_eq!(kept(&backups, None, window, at(99)), [false, false, false, true]);
        assert_eq!(kept(&backups, Some(4), window, at(99)), [true; 4]);
        assert!(kept(&[], Some(1), window, at(1)).is_empty());
    }

    proptest! {
        #[test]
        fn a_sound_backup_always_stays(
            damaged in prop::collection::vec(any::<bool>(), 1..8),
            keep in prop::option::of(0usize..5), hours in prop::option::of(0u64..10), now in 0i64..20,
        ) {
            let backups: Vec<_> = damaged.iter().zip(1..).map(|(damaged, hour)| {
                let mut backup = backup(hour, 1, 0);
                if *damaged { backup.damaged_pages.push("x".to_owned()); }
                backup
            }).collect();
            let window = hours.map(|hours| Duration::from_secs(hours * 3600));
            let kept = kept(&backups, keep, window, at(now));
            let sound = |at: &usize| backups[*at].damaged_pages.is_empty();
            let any_sound = (0..backups.len()).any(|at| sound(&at));
            prop_assert!(!any_sound || (0..backups.len()).any(|at| kept[at] && sound(&at)));
            prop_assert!(kept.iter().any(|kept| *kept));
        }
    }
}
