//! What can be restored from what: one model of an archive's timelines, WAL and backups, which
//! `restore`, `createslave`, `expire`, `check`, `info` and `verify` share.
//!
//! Everything is judged by ancestry and position in the WAL, as the server judges it. A name or a
//! clock never decides alone: the clock only where the target is a time, and between backups of
//! different branches, which nothing else orders. Pure but for [`load`].

pub(crate) mod load;
pub(crate) mod order;
pub(crate) mod reach;
pub(crate) mod runs;
pub(crate) mod timelines;
#[cfg(test)]
mod world;

use crate::backup::info::BackupInfo;
use crate::history::runs::Runs;
use crate::history::timelines::Timelines;

/// An archive as it is now.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Size of its WAL segments.
    pub(crate) segment_size: u32,
    /// What branched off where.
    pub(crate) timelines: Timelines,
    /// Complete backups in the order they were taken, as far as that is known ([`order`]).
    pub(crate) backups: Vec<BackupInfo>,
    /// Whole segments.
    pub(crate) wal: Runs,
}

impl History {
    /// An archive's history; the backups may come in any order.
    pub(crate) fn new(
        segment_size: u32,
        timelines: Timelines,
        backups: Vec<BackupInfo>,
        wal: Runs,
    ) -> Self {
        let backups = order::sorted(&timelines, backups);
        Self { segment_size, timelines, backups, wal }
    }

    /// Add timelines of another repository of the same system.
    ///
    /// # Errors
    /// The number of one that is another here.
    pub(crate) fn add_timelines(&mut self, others: &Timelines) -> Result<(), u32> {
        self.timelines.add(others)?;
        self.backups = order::sorted(&self.timelines, std::mem::take(&mut self.backups));
        Ok(())
    }

    /// The timeline that counts as the present: the newest there is. Its number is the greatest,
    /// since each new one takes the next.
    pub(crate) fn newest_timeline(&self) -> Option<u32> {
        let of_backups = self.backups.iter().map(|backup| backup.timeline).max();
        self.timelines.newest().max(self.wal.newest_timeline()).max(of_backups)
    }

    /// True when anything in the archive is of this timeline.
    pub(crate) fn has_timeline(&self, timeline: u32) -> bool {
        self.numbers().contains(&timeline)
    }

    /// The numbers of all timelines, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.timelines.numbers().chain(self.wal.timelines()).collect();
        numbers.extend(self.backups.iter().map(|backup| backup.timeline));
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// True when recovery from the backup can follow the way to a timeline: all of the backup is
    /// part of that timeline's past.
    pub(crate) fn leads(&self, backup: &BackupInfo, to: u32) -> bool {
        self.timelines.leads(backup.timeline, backup.stop_lsn, to)
    }

    /// The backups on the way to a timeline, oldest first.
    pub(crate) fn chain(&self, to: u32) -> Vec<&BackupInfo> {
        self.backups.iter().filter(|backup| self.leads(backup, to)).collect()
    }

    /// The backup of all these that is best to have: the newest that is sound and whole, else
    /// whole, else the newest. One that lost the WAL after it by an expire comes last.
    pub(crate) fn best<'a>(&self, backups: &[&'a BackupInfo]) -> Option<&'a BackupInfo> {
        let newest = |fits: &dyn Fn(&BackupInfo) -> bool| {
            backups.iter().rfind(|backup| fits(backup)).copied()
        };
        newest(&|backup| self.is_good(backup))
            .or_else(|| {
                newest(&|backup| !backup.standalone && self.first_missing(backup).is_none())
            })
            .or_else(|| newest(&|backup| self.is_sound(backup)))
            .or_else(|| backups.last().copied())
    }

    /// True for a sound backup after which WAL was kept.
    pub(crate) fn is_good(&self, backup: &BackupInfo) -> bool {
        !backup.standalone && self.is_sound(backup)
    }

    /// True for a backup without damaged pages whose own WAL is there.
    pub(crate) fn is_sound(&self, backup: &BackupInfo) -> bool {
        backup.damaged_pages.is_empty() && self.first_missing(backup).is_none()
    }

    /// Backups that are not on the way to the newest timeline.
    pub(crate) fn abandoned(&self) -> Vec<&BackupInfo> {
        let Some(newest) = self.newest_timeline() else { return Vec::new() };
        self.backups.iter().filter(|backup| !self.leads(backup, newest)).collect()
    }
}
