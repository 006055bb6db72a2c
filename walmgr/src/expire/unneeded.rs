//! Which WAL files and packs no kept backup needs.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::backup::info::{self, BackupInfo};
use crate::backup::manifest;
use crate::backup::pin;
use crate::error::Result;
use crate::expire::retention::Kept;
use crate::history::History;
use crate::history::timelines::Stretch;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::name::Segment;

/// What the WAL is needed for.
pub(crate) struct Needs<'a> {
    history: &'a History,
    /// Backups that recovery may take any way from.
    free: Vec<&'a BackupInfo>,
    /// Backups that need the WAL of their own only.
    alone: Vec<&'a BackupInfo>,
    /// The backup that is kept for the present only, and the way there.
    present: Option<(&'a BackupInfo, Vec<Stretch>)>,
    /// The newest timeline, when no kept backup leads to it: a standby or the next backup may still
    /// need its WAL.
    all_of: Option<u32>,
    /// The newest timeline that was known when it was decided. A later one has come meanwhile.
    newest: Option<u32>,
}

impl<'a> Needs<'a> {
    /// What a history needs after decisions on its backups.
    pub(crate) fn new(history: &'a History, decisions: &[Option<Kept>]) -> Self {
        let kept = |why| {
            let decided = history.backups.iter().zip(decisions);
            decided.filter(move |(_, kept)| **kept == Some(why)).map(|(backup, _)| backup)
        };
        let newest = history.newest_timeline();
        let present = kept(Kept::ForThePresent).next_back();
        let free: Vec<&BackupInfo> = kept(Kept::ByRule).collect();
        let alone = kept(Kept::Pinned).chain(kept(Kept::ByTier)).collect();
        let leads = |timeline: &u32| {
            free.iter().copied().chain(present).any(|backup| history.leads(backup, *timeline))
        };
        Self {
            history,
            all_of: newest.filter(|newest| !leads(newest)),
            newest,
            present: present.zip(newest.map(|newest| history.timelines.way(newest))),
            free,
            alone,
        }
    }

    /// What all backups that are there need.
    pub(crate) fn of_all(history: &'a History) -> Self {
        let kept =
            |backup: &BackupInfo| if backup.standalone { Kept::Pinned } else { Kept::ByRule };
        let decisions: Vec<_> = history.backups.iter().map(|backup| Some(kept(backup))).collect();
        Self::new(history, &decisions)
    }

    /// True when anything that is kept needs the segment. Without any backup, everything is needed.
    pub(crate) fn segment(&self, segment: Segment) -> bool {
        if self.free.is_empty() && self.present.is_none()
            || self.all_of == Some(segment.timeline)
            || self.newest.is_none_or(|newest| segment.timeline > newest)
        {
            return true;
        }
        let history = self.history;
        let is_after = |backup: &BackupInfo| {
            segment.number >= backup.start_segment(history.segment_size).number
        };
        let by_rule = |backup: &BackupInfo| {
            let unknown = !history.timelines.is_known(segment.timeline)
                // Nobody knows where this timeline comes from, so it may come from here.
                && segment.timeline > backup.timeline;
            is_after(backup) && (unknown || history.leads(backup, segment.timeline))
        };
        let for_the_present = |(backup, way): &(&BackupInfo, Vec<Stretch>)| {
            is_after(backup)
                && way.iter().any(|stretch| {
                    let last = stretch.end.map_or(u64::MAX, |end| history.number(end));
                    stretch.timeline == segment.timeline
                        && (history.number(stretch.begin)..=last).contains(&segment.number)
                })
        };
        let own = |backup: &&BackupInfo| {
            let size = history.segment_size;
            (backup.start_segment(size)..=backup.stop_segment(size)).contains(&segment)
        };
        self.free.iter().any(|backup| by_rule(backup))
            || self.alone.iter().any(own)
            || self.present.as_ref().is_some_and(for_the_present)
    }
}

impl Needs<'_> {
    /// Backups whose own WAL is kept and the WAL after them is not, as far as that is not noted
    /// yet.
    pub(crate) fn standalone(&self) -> Vec<&str> {
        let size = self.history.segment_size;
        let goes_on = |backup: &BackupInfo| self.segment(backup.stop_segment(size).next());
        let left = self.alone.iter().filter(|backup| !backup.standalone && !goes_on(backup));
        left.map(|backup| backup.id.as_str()).collect()
    }
}

/// Keys of WAL files that nothing needs.
pub(crate) fn wal(stanza: &Stanza, needs: &Needs<'_>) -> Result<Vec<String>> {
    let size = stanza.info.wal_segment_size;
    let mut keys = Vec::new();
    for timeline in wal::timelines(stanza)? {
        let directory = stanza.key(&format!("wal/{timeline:08X}"));
        for high in stanza.store.list(&directory)? {
            let directory = format!("{directory}/{}", high.trim_end_matches('/'));
            for name in stanza.store.list(&directory)? {
                // Also SEGMENT.OFFSET.backup, SEGMENT.partial.HASH and what was set aside.
                let segment = name.get(..24).and_then(|name| Segment::parse(name, size));
                if segment.is_some_and(|segment| !needs.segment(segment)) {
                    keys.push(format!("{directory}/{name}"));
                }
            }
        }
    }
    Ok(keys)
}

/// Keys of packs, and of manifests and marks, that no kept backup refers to. What is newer than the
/// newest backup may be taken up by the next.
pub(crate) fn packs(stanza: &Stanza, kept: &[&BackupInfo]) -> Result<Vec<String>> {
    let mut referred = BTreeSet::new();
    for backup in kept {
        let manifest = manifest::load(stanza, &backup.id, &backup.manifest_hash)?;
        let used: BTreeSet<u32> =
            manifest.files.iter().flat_map(|file| &file.chunks).map(|chunk| chunk.pack).collect();
        let names = manifest.packs.into_iter().zip(0_u32..);
        referred.extend(names.filter(|(_, number)| used.contains(number)).map(|(name, _)| name));
    }
    // By name, for this is about leftovers only: no backup is being taken now. A name from the
    // future is that of a wrong clock, and no reason to keep anything until then.
    let newest = kept.iter().map(|backup| backup.id.as_str()).max().unwrap_or("");
    let now = info::id_of(Timestamp::now());
    let is_left_for_the_next = |id: &str| id > newest && id <= now.as_str();
    let mut keys = Vec::new();
    for directory in stanza.store.list(&stanza.key("pack"))? {
        let id = directory.trim_end_matches('/');
        if is_left_for_the_next(id) {
            continue;
        }
        for name in stanza.store.list(&stanza.key(&format!("pack/{id}")))? {
            let pack = format!("pack/{id}/{name}");
            if !referred.contains(&pack) {
                keys.push(stanza.key(&pack));
            }
        }
    }
    for name in stanza.store.list(&stanza.key("backup"))? {
        let Some(id) = name.strip_suffix(".manifest").or_else(|| pin::owner(&name)) else {
            continue;
        };
        if !is_left_for_the_next(id) && !kept.iter().any(|backup| backup.id == id) {
            keys.push(stanza.key(&format!("backup/{name}")));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::Needs;
    use crate::expire::retention::Kept;
    use crate::expire::retention::tests::backup;
    use crate::history::History;
    use crate::history::runs::Runs;
    use crate::history::timelines::Timelines;
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;
    use crate::wal::name::Segment;

    fn segment(timeline: u32, number: u64) -> Segment {
        Segment { timeline, number }
    }

    /// Timeline 2 branched off 1 in segment 20, timeline 3 in segment 5. Segments have 100 bytes.
    fn history(backups: Vec<crate::backup::info::BackupInfo>) -> History {
        let from_first = |end| vec![Ancestor { timeline: 1, end: Lsn(end) }];
        let timelines = Timelines::new([(2, from_first(2050)), (3, from_first(550))]);
        History::new(100, timelines, backups, Runs::default())
    }

    #[test]
    fn wal_is_needed_along_the_ancestry_only() {
        let old = history(vec![backup(1, 1, 1000)]);
        let needs = Needs::new(&old, &[Some(Kept::ByRule)]);
        assert!(needs.segment(segment(1, 10)));
        assert!(!needs.segment(segment(1, 9)));
        assert!(needs.segment(segment(1, 40)));
        assert!(needs.segment(segment(2, 20)));
        assert!(needs.segment(segment(9, 12)), "of unknown origin");
        assert!(needs.segment(segment(3, 12)), "of the newest timeline, to which nothing leads");

        let new = history(vec![backup(2, 2, 3000)]);
        let needs = Needs::new(&new, &[Some(Kept::ByRule)]);
        assert!(!needs.segment(segment(1, 40)), "left behind by the promotion");
        assert!(!needs.segment(segment(2, 29)));
        assert!(needs.segment(segment(2, 30)));
    }

    #[test]
    fn for_the_present_only_the_way_there_is_needed() {
        let from_first = vec![Ancestor { timeline: 1, end: Lsn(2050) }];
        let timelines = Timelines::new([(2, from_first)]);
        let backups = vec![backup(1, 1, 1000), backup(2, 1, 3000)];
        let history = History::new(100, timelines, backups, Runs::default());
        let needs = Needs::new(&history, &[Some(Kept::ForThePresent), Some(Kept::ByRule)]);
        for (number, needed) in
            [(9, false), (10, true), (20, true), (21, false), (29, false), (30, true)]
        {
            assert_eq!(needs.segment(segment(1, number)), needed, "{number}");
        }
        assert!(needs.segment(segment(2, 20)) && needs.segment(segment(2, 99)));
        // A promotion came while this was decided.
        assert!(needs.segment(segment(3, 22)));
        // What is kept for itself needs its own WAL, 30 to 30, and no more.
        let needs = Needs::new(&history, &[Some(Kept::ForThePresent), Some(Kept::Pinned)]);
        assert!(needs.segment(segment(1, 30)) && !needs.segment(segment(1, 31)));
        assert_eq!(needs.standalone(), ["0002"]);
        let needs = Needs::new(&history, &[Some(Kept::ByRule), Some(Kept::ByTier)]);
        assert!(needs.segment(segment(1, 31)) && needs.standalone().is_empty());
        // Nothing is thrown away for want of a backup.
        assert!(Needs::new(&history, &[None, None]).segment(segment(1, 1)));
    }
}
