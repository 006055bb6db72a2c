//! The order in which backups were taken.
//!
//! On one way it is that of their positions, whatever the clock said. Backups of different branches
//! have no order of their own: among those the clock decides, and nothing that must not be lost
//! hangs on it.

use jiff::Timestamp;

use crate::backup::info::BackupInfo;
use crate::history::timelines::Timelines;

/// The backups, oldest first.
pub(crate) fn sorted(timelines: &Timelines, mut left: Vec<BackupInfo>) -> Vec<BackupInfo> {
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_first = |at: &usize| {
            let candidate = left.get(*at);
            !candidate.is_some_and(|one| left.iter().any(|other| precedes(timelines, other, one)))
        };
        let next = (0..left.len())
            .filter(is_first)
            .min_by_key(|at| left.get(*at).map(|backup| (backup.stop_time, backup.id.clone())));
        // Timelines ascend along an ancestry, so there is always one that nothing precedes.
        sorted.push(left.remove(next.unwrap_or(0)));
    }
    sorted
}

/// True when the one is part of the other one's past.
fn precedes(timelines: &Timelines, one: &BackupInfo, other: &BackupInfo) -> bool {
    if one.timeline == other.timeline {
        return (one.stop_lsn, one.start_lsn, &one.id)
            < (other.stop_lsn, other.start_lsn, &other.id);
    }
    timelines.leads(one.timeline, one.stop_lsn, other.timeline)
}

/// How many of these backups, which are in order, were complete at a time for certain: none was
/// that follows one of a later time. A time that has not come yet is a clock's fault, and says
/// nothing.
pub(crate) fn complete_at(
    backups: &[&BackupInfo],
    time: Timestamp,
    now: Timestamp,
    mut counts: impl FnMut(&BackupInfo) -> bool,
) -> Option<usize> {
    let mut last = None;
    for (at, backup) in backups.iter().enumerate() {
        match backup.stop_time {
            stopped if stopped <= time => {
                if counts(backup) {
                    last = Some(at);
                }
            }
            stopped if stopped > now => {}
            _ => break,
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::{complete_at, sorted};
    use crate::expire::retention::tests::{at, backup};
    use crate::history::timelines::Timelines;
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;

    #[test]
    fn positions_decide_on_one_way_and_the_clock_between_branches() {
        let timelines = Timelines::new([(2, vec![Ancestor { timeline: 1, end: Lsn(100) }])]);
        let backups = vec![
            backup(900, 1, 10), // the clock was far ahead
            backup(2, 1, 50),
            backup(3, 2, 120),
            backup(1, 1, 300), // left behind, after 50 whatever its clock says
        ];
        let starts: Vec<u64> =
            sorted(&timelines, backups).iter().map(|backup| backup.start_lsn.0).collect();
        assert_eq!(starts, [10, 50, 300, 120]);
    }

    #[test]
    fn a_clock_that_went_wrong_does_not_make_a_backup_old() {
        let chain = [backup(10, 1, 10), backup(20, 1, 20), backup(1, 1, 30), backup(40, 1, 40)];
        let chain: Vec<_> = chain.iter().collect();
        let complete = |time, now| complete_at(&chain, at(time), at(now), |_| true);
        assert_eq!(complete(9, 50), None);
        assert_eq!(complete(15, 50), Some(0));
        assert_eq!(complete(20, 50), Some(2));
        assert_eq!(complete(45, 50), Some(3));
        // 20 has not come yet.
        assert_eq!(complete(15, 19), Some(2));
    }
}
