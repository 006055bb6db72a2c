//! What a repository holds of a stanza.

use jiff::Timestamp;

use super::exposition::Samples;
use super::server::Position;
use super::{names, seconds};
use crate::backup::info::BackupInfo;
use crate::error::Result;
use crate::history::History;
use crate::history::reach::Range;
use crate::repo::object;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::lsn::Lsn;
use crate::wal::name::{Segment, WalName};
use crate::wal::records::Records;

/// Segments that are read to find the last transaction. An idle server's have none.
const LOOK_BACK: u64 = 4;

/// Read what there is.
///
/// # Errors
/// Anything that keeps a number from being known.
pub(super) fn gather(
    stanza: &Stanza,
    server: Option<Position>,
    labels: &[(&str, &str)],
    samples: &mut Samples,
    now: Timestamp,
) -> Result<()> {
    let history = History::load(stanza)?;
    let newest = history.newest_timeline();
    of_wal(&history, labels, samples);
    if let Some(position) = server {
        backlog(&history, position, labels, samples);
    }
    if let Some(newest) = newest {
        restorable(stanza, &history, newest, labels, samples)?;
    }
    samples.set(&names::BACKUPS, labels, history.backups.len());
    samples.set(&names::BACKUPS_ABANDONED, labels, history.abandoned().len());
    let pinned = history
        .backups
        .iter()
        .filter(|backup| backup.pin.as_ref().is_some_and(|pin| pin.holds(now)));
    samples.set(&names::BACKUPS_PINNED, labels, pinned.count());
    let added: u64 = history.backups.iter().map(|backup| backup.added).sum();
    samples.set(&names::BACKUP_BYTES, labels, added);
    let on_the_way = newest.map_or_else(Vec::new, |newest| history.chain(newest));
    let any = on_the_way.last().copied().or(history.backups.last());
    let full = on_the_way.iter().rfind(|backup| backup.shares_with.is_empty()).copied();
    for (kind, backup) in [("any", any), ("full", full)] {
        if let Some(backup) = backup {
            let mut labels = labels.to_vec();
            labels.push(("kind", kind));
            of_backup(backup, &labels, samples, now);
        }
    }
    Ok(())
}

fn of_wal(history: &History, labels: &[(&str, &str)], samples: &mut Samples) {
    let (mut segments, mut missing) = (0, 0);
    for timeline in history.numbers() {
        let runs = history.wal.of(timeline);
        segments += runs.iter().map(|(first, last)| last - first + 1).sum::<u64>();
        let gaps = history.gaps(timeline);
        missing += gaps.iter().map(|(first, last)| last.number - first.number + 1).sum::<u64>();
    }
    let size = u64::from(history.segment_size);
    samples.set(&names::WAL_SEGMENTS, labels, segments);
    samples.set(&names::WAL_BYTES, labels, segments.saturating_mul(size));
    samples.set(&names::WAL_MISSING, labels, missing);
    let Some(timeline) = history.wal.newest_timeline() else { return };
    let Some((_, last)) = history.wal.of(timeline).last() else { return };
    samples.set(&names::LAST_TIMELINE, labels, timeline);
    samples.set(&names::LAST_SEGMENT, labels, *last);
    samples.set(&names::LAST_LSN, labels, (last + 1).saturating_mul(size));
}

/// What the server has and the repository does not.
fn backlog(history: &History, server: Position, labels: &[(&str, &str)], samples: &mut Samples) {
    // A timeline that has just begun continues its parent's last segment.
    let way = history.timelines.way(server.timeline);
    let of = |timeline: u32| history.wal.of(timeline).last().map(|(_, last)| *last);
    let last = way.iter().rev().find_map(|stretch| of(stretch.timeline));
    let Some(last) = last.or_else(|| of(server.timeline)) else { return };
    let behind = history.number(server.lsn).saturating_sub(last + 1);
    let stored = (last + 1).saturating_mul(u64::from(history.segment_size));
    samples.set(&names::BACKLOG_SEGMENTS, labels, behind);
    samples.set(&names::BACKLOG, labels, server.lsn.0.saturating_sub(stored));
}

fn restorable(
    stanza: &Stanza,
    history: &History,
    newest: u32,
    labels: &[(&str, &str)],
    samples: &mut Samples,
) -> Result<()> {
    let ranges = history.ranges(newest);
    let present = ranges.last().is_some_and(|range| range.reach.missing.is_none());
    samples.set(&names::PRESENT, labels, u8::from(present));
    // A clock may have been wrong.
    let any = ranges.iter().filter(|range| !range.first.standalone);
    let oldest = any.map(|range| range.first.stop_time).min();
    let Some((oldest, last)) = oldest.zip(ranges.last()) else { return Ok(()) };
    samples.set(&names::OLDEST, labels, seconds(oldest));
    let time = last_time(stanza, history, last, newest)?.max(last.last.stop_time);
    samples.set(&names::NEWEST, labels, seconds(time));
    Ok(())
}

/// The time of the last transaction in a span, as far as one is near its end; else its backup's.
fn last_time(
    stanza: &Stanza,
    history: &History,
    range: &Range<'_>,
    timeline: u32,
) -> Result<Timestamp> {
    let size = history.segment_size;
    let way = history.timelines.way(timeline);
    let end = history.number(Lsn(range.reach.end.0.saturating_sub(1)));
    let first = range.last.start_segment(size).number;
    for number in (first.max(end.saturating_sub(LOOK_BACK))..=end).rev() {
        let owner = history.owner(&way, number);
        let name = WalName::Segment(Segment { timeline: owner, number }.name(size));
        let key = wal::key(stanza, &name);
        let Some(source) = stanza.store.open(&key)? else { continue };
        let begin = Lsn(number.saturating_mul(u64::from(size)));
        let mut records = Records::new(begin, |_, _| {});
        object::read(source.as_ref(), &key, u64::from(size), &mut records)?;
        if let Some(time) = records.last_time() {
            return Ok(time);
        }
    }
    Ok(range.last.stop_time)
}

fn of_backup(backup: &BackupInfo, labels: &[(&str, &str)], samples: &mut Samples, now: Timestamp) {
    let (begin, end) = (seconds(backup.start_time), seconds(backup.stop_time));
    samples.set(&names::LAST_BACKUP, labels, end);
    samples.set(&names::LAST_BACKUP_AGE, labels, seconds(now) - end);
    samples.set(&names::LAST_BACKUP_DURATION, labels, end - begin);
    samples.set(&names::LAST_BACKUP_SIZE, labels, backup.size);
    samples.set(&names::LAST_BACKUP_ADDED, labels, backup.added);
    samples.set(&names::LAST_BACKUP_DAMAGED, labels, backup.damaged_pages.len());
}
