//! How far recovery gets: the WAL that follows a backup without a gap along the way to a timeline.

use crate::backup::info::BackupInfo;
use crate::history::History;
use crate::history::timelines::Stretch;
use crate::wal::lsn::Lsn;
use crate::wal::name::Segment;

/// How far one gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Everything before this position can be replayed.
    pub(crate) end: Lsn,
    /// The segment that is missing there, when there is WAL after it.
    pub(crate) missing: Option<Segment>,
    /// An older timeline whose WAL goes on past the branch at the end, where the newer one's
    /// segment is not there: a server would follow it.
    pub(crate) stray: Option<u32>,
}

/// A span that can be restored to.
#[derive(Clone, Debug)]
pub(crate) struct Range<'a> {
    /// The backup it begins with.
    pub(crate) first: &'a BackupInfo,
    /// The last backup in it.
    pub(crate) last: &'a BackupInfo,
    /// Where it ends, and why.
    pub(crate) reach: Reach,
}

impl History {
    /// How far recovery from a backup gets on the way to a timeline, which the backup must be on.
    pub(crate) fn reach(&self, backup: &BackupInfo, to: u32) -> Reach {
        let way = self.timelines.way(to);
        let mut number = backup.start_segment(self.segment_size).number;
        let mut read = 0;
        loop {
            let owner = self.owner(&way, number);
            let next_begins = way
                .iter()
                .map(|stretch| self.number(stretch.begin))
                .find(|begin| *begin > number)
                .unwrap_or(u64::MAX);
            match self.wal.last_of_run(Segment { timeline: owner, number }) {
                Some(last) => {
                    number = (last + 1).min(next_begins);
                    read = owner;
                }
                None => return self.end(&way, owner, number, read),
            }
        }
    }

    /// The first segment that a backup needs to be consistent and that is not there.
    pub(crate) fn first_missing(&self, backup: &BackupInfo) -> Option<Segment> {
        let first = backup.start_segment(self.segment_size);
        let last = backup.stop_segment(self.segment_size);
        match self.wal.last_of_run(first) {
            Some(end) if end >= last.number => None,
            Some(end) => Some(Segment { number: end + 1, ..first }),
            None => Some(first),
        }
    }

    /// The spans on the way to a timeline that can be restored to, oldest first.
    pub(crate) fn ranges(&self, to: u32) -> Vec<Range<'_>> {
        let mut ranges: Vec<Range<'_>> = Vec::new();
        for backup in self.chain(to) {
            if self.first_missing(backup).is_some() {
                continue;
            }
            if backup.standalone {
                let reach = Reach { end: backup.stop_lsn, missing: None, stray: None };
                ranges.push(Range { first: backup, last: backup, reach });
                continue;
            }
            let reach = self.reach(backup, to);
            match ranges.last_mut() {
                Some(range) if range.reach.end == reach.end => range.last = backup,
                _ => ranges.push(Range { first: backup, last: backup, reach }),
            }
        }
        ranges
    }

    /// Gaps between segments of one timeline: the first and the last segment that is missing. Left
    /// out is what `expire` cut: from a branch that a backup was kept for, or the end of a backup
    /// that was kept for itself, to the segment that a later backup begins in.
    pub(crate) fn gaps(&self, timeline: u32) -> Vec<(Segment, Segment)> {
        let runs = self.wal.of(timeline);
        let branches: Vec<u64> =
            self.timelines.branches(timeline).map(|position| self.number(position)).collect();
        let is_cut = |before: u64, after: u64| {
            // Of a backup that begins in the segment of a branch, the older timeline's is kept.
            let begins = |backup: &BackupInfo| {
                let way = self.timelines.way(backup.timeline);
                self.number(backup.start_lsn) == after
                    && way.iter().any(|stretch| stretch.timeline == timeline)
            };
            let ends = |backup: &BackupInfo| {
                backup.standalone
                    && backup.stop_segment(self.segment_size)
                        == Segment { timeline, number: before }
            };
            (branches.iter().any(|branch| before == *branch || before + 1 == *branch)
                || self.backups.iter().any(ends))
                && self.backups.iter().any(begins)
        };
        runs.iter()
            .zip(runs.iter().skip(1))
            .filter(|((_, before), (after, _))| !is_cut(*before, *after))
            .map(|((_, before), (after, _))| {
                let segment = |number| Segment { timeline, number };
                (segment(before + 1), segment(after - 1))
            })
            .collect()
    }

    /// The number of the segment that a position lies in.
    pub(crate) fn number(&self, position: Lsn) -> u64 {
        position.segment(0, self.segment_size).number
    }

    /// The timeline that a segment on the way is of: the newest that begins in it or before.
    pub(crate) fn owner(&self, way: &[Stretch], number: u64) -> u32 {
        way.iter()
            .rfind(|stretch| self.number(stretch.begin) <= number)
            .map_or(0, |stretch| stretch.timeline)
    }

    /// The end of the WAL, at a segment that is not there. A server never goes back to a timeline
    /// before the one it has `read` last.
    fn end(&self, way: &[Stretch], owner: u32, number: u64, read: u32) -> Reach {
        let has_later = way.iter().any(|stretch| {
            let from = self.number(stretch.begin).max(number);
            let last = stretch.end.map_or(Some(u64::MAX), |end| self.number(end).checked_sub(1));
            last.is_some_and(|last| from <= last && self.wal.any(stretch.timeline, from, last))
        });
        let missing = has_later.then_some(Segment { timeline: owner, number });
        let begin = Lsn(number.saturating_mul(u64::from(self.segment_size)));
        // An older timeline's segment of the same place is right as far as that timeline is on the
        // way.
        let older = way.iter().rev().skip_while(|stretch| stretch.timeline != owner).skip(1);
        let older = older.filter(|stretch| (read..owner).contains(&stretch.timeline));
        let stray = older.into_iter().find(|stretch| {
            let segment = Segment { timeline: stretch.timeline, number };
            self.wal.last_of_run(segment).is_some()
        });
        let end = stray.and_then(|stretch| stretch.end).map_or(begin, |end| begin.max(end));
        Reach { end, missing, stray: stray.map(|stretch| stretch.timeline) }
    }
}
