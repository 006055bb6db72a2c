//! Which WAL files and packs no kept backup needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::backup::info::BackupInfo;
use crate::backup::manifest;
use crate::error::Result;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::history::Ancestor;
use crate::wal::name::Segment;

/// The timelines of an archive and what they branched off.
pub(crate) type Histories = BTreeMap<u32, Vec<Ancestor>>;

/// True when recovery from the backup can come by the segment, on the backup's timeline or any that branches off later.
pub(crate) fn needs(
    backup: &BackupInfo,
    segment: Segment,
    histories: &Histories,
    segment_size: u32,
) -> bool {
    let start = backup.start_segment(segment_size);
    if segment.number < start.number {
        return false;
    }
    if segment.timeline == backup.timeline {
        return true;
    }
    match histories.get(&segment.timeline) {
        Some(ancestors) if !ancestors.is_empty() => ancestors.iter().any(|ancestor| {
            ancestor.timeline == backup.timeline && ancestor.end >= backup.start_lsn
        }),
        // Nobody knows where this timeline comes from, so it may come from here.
        _ => segment.timeline > backup.timeline,
    }
}

/// Keys of WAL files that none of the backups needs. Nothing when there is no backup.
pub(crate) fn wal(stanza: &Stanza, kept: &[&BackupInfo]) -> Result<Vec<String>> {
    let size = stanza.info.wal_segment_size;
    let timelines = wal::timelines(stanza)?;
    let mut histories = Histories::new();
    for timeline in &timelines {
        histories.insert(*timeline, wal::ancestors(stanza, *timeline)?);
    }
    let mut keys = Vec::new();
    for timeline in timelines {
        let directory = stanza.key(&format!("wal/{timeline:08X}"));
        for high in stanza.store.list(&directory)? {
            let directory = format!("{directory}/{}", high.trim_end_matches('/'));
            for name in stanza.store.list(&directory)? {
                // Also SEGMENT.OFFSET.backup, SEGMENT.partial.HASH and what was set aside.
                let segment = name.get(..24).and_then(|name| Segment::parse(name, size));
                let unneeded = segment.is_some_and(|segment| {
                    !kept.iter().any(|backup| needs(backup, segment, &histories, size))
                });
                if unneeded && !kept.is_empty() {
                    keys.push(format!("{directory}/{name}"));
                }
            }
        }
    }
    Ok(keys)
}

/// Keys of packs, and of manifests, that no kept backup refers to. What is newer than the newest backup may be taken up by the next.
pub(crate) fn packs(stanza: &Stanza, kept: &[&BackupInfo]) -> Result<Vec<String>> {
    let mut referred = BTreeSet::new();
    for backup in kept {
        let manifest = manifest::load(stanza, &backup.id, &backup.manifest_hash)?;
        let used: BTreeSet<u32> =
            manifest.files.iter().flat_map(|file| &file.chunks).map(|chunk| chunk.pack).collect();
        let names = manifest.packs.into_iter().zip(0_u32..);
        referred.extend(names.filter(|(_, number)| used.contains(number)).map(|(name, _)| name));
    }
    let newest = kept.last().map_or("", |backup| backup.id.as_str());
    let mut keys = Vec::new();
    for directory in stanza.store.list(&stanza.key("pack"))? {
        let id = directory.trim_end_matches('/');
        if id > newest {
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
        let Some(id) = name.strip_suffix(".manifest") else { continue };
        if id <= newest && !kept.iter().any(|backup| backup.id == id) {
            keys.push(manifest::key(stanza, id));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::{Histories, needs};
    use crate::expire::retention::tests::backup;
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;
    use crate::wal::name::Segment;

    const SIZE: u32 = 1 << 20;

    #[test]
    fn wal_is_needed_along_the_ancestry_only() {
        let at = |megabytes: u64| megabytes << 20;
        let segment = |timeline, number| Segment { timeline, number };
        let mut histories = Histories::new();
        histories.insert(1, Vec::new());
        histories.insert(2, vec![Ancestor { timeline: 1, end: Lsn(at(20)) }]);
        histories.insert(3, vec![Ancestor { timeline: 1, end: Lsn(at(5)) }]);
        let needed = |backup: &_, segment| needs(backup, segment, &histories, SIZE);

        let old = backup(1, 1, at(10));
        assert!(needed(&old, segment(1, 10)));
        assert!(!needed(&old, segment(1, 9)));
        assert!(needed(&old, segment(2, 20)));
        assert!(!needed(&old, segment(3, 12)), "branched off before the backup");
        assert!(needed(&old, segment(9, 12)), "of unknown origin");

        let new = backup(2, 2, at(30));
        assert!(!needed(&new, segment(1, 40)), "left behind by the promotion");
        assert!(!needed(&new, segment(2, 29)));
        assert!(needed(&new, segment(2, 30)));
    }
}
