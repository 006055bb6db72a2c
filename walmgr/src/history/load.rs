//! Reading an archive's history out of the repository. Timelines and backups are cheap; lists of
//! WAL are as long as the WAL.

use std::time::Duration;

use crate::backup::info::{self, BackupInfo};
use crate::error::Result;
use crate::history::History;
use crate::history::runs::Runs;
use crate::history::timelines::Timelines;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::name::{Segment, WalName};

/// How far from the end of a timeline a segment may be missing because it comes late, and how often
/// and how long it is waited for.
const NEAR: u64 = 256;
const TIMES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

impl History {
    /// All of it.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`] when a history file or a backup cannot be read: without it,
    /// judgements would be wrong.
    pub(crate) fn load(stanza: &Stanza) -> Result<Self> {
        let mut history = Self::load_without_wal(stanza)?;
        history.load_wal(stanza, 0)?;
        Ok(history)
    }

    /// Timelines and backups only.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_without_wal(stanza: &Stanza) -> Result<Self> {
        Self::with(stanza, info::list(stanza)?)
    }

    /// Timelines, and the backups that can be read: for whoever removes nothing.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`] when a history file cannot be read.
    pub(crate) fn load_readable(stanza: &Stanza) -> Result<Self> {
        Self::with(stanza, info::readable(stanza)?)
    }

    fn with(stanza: &Stanza, backups: Vec<BackupInfo>) -> Result<Self> {
        let timelines = timelines(stanza)?;
        Ok(Self::new(stanza.info.wal_segment_size, timelines, backups, Runs::default()))
    }

    /// List the segments from a number on, of all timelines, and add them to those that are known.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`].
    pub(crate) fn load_wal(&mut self, stanza: &Stanza, from: u64) -> Result<()> {
        let size = self.segment_size;
        for timeline in wal::timelines(stanza)? {
            let first = Segment { timeline, number: from }.name(size);
            let first = first.get(8..16).expect("a segment's name has 24 digits");
            let directory = stanza.key(&format!("wal/{timeline:08X}"));
            let mut numbers = Vec::new();
            for high in stanza.store.list(&directory)? {
                let high = high.trim_end_matches('/');
                if high < first {
                    continue;
                }
                let names = stanza.store.list(&format!("{directory}/{high}"))?;
                let segments = names.iter().filter_map(|name| Segment::parse(name, size));
                numbers.extend(segments.map(|segment| segment.number));
            }
            await_late(&mut numbers, |number| {
                wal::has_segment(stanza, Segment { timeline, number })
            })?;
            self.wal.add(timeline, numbers);
        }
        Ok(())
    }
}

/// The timelines whose history files an archive has.
///
/// # Errors
/// [`crate::error::Error::Corrupt`] when one cannot be read.
pub(crate) fn timelines(stanza: &Stanza) -> Result<Timelines> {
    let mut histories = Vec::new();
    for name in stanza.store.list(&stanza.key("wal"))? {
        if let Ok(WalName::History(timeline)) = WalName::parse(&name) {
            histories.push((timeline, wal::ancestors(stanza, timeline)?));
        }
    }
    Ok(Timelines::new(histories))
}

/// Add segments that were not there yet when they were listed, although later ones were: a list
/// takes its time, and a daemon stores several at once. Only what is still missing then is a hole.
fn await_late(numbers: &mut Vec<u64>, mut is_there: impl FnMut(u64) -> Result<bool>) -> Result<()> {
    numbers.sort_unstable();
    let near = numbers.last().map_or(0, |last| last.saturating_sub(NEAR));
    let pairs = numbers.iter().zip(numbers.iter().skip(1));
    let mut missing: Vec<u64> =
        pairs.flat_map(|(before, after)| (before + 1).max(near)..*after).collect();
    for time in 0..TIMES {
        let mut left = Vec::new();
        for number in missing {
            match is_there(number)? {
                true => numbers.push(number),
                false => left.push(number),
            }
        }
        missing = left;
        if missing.is_empty() {
            break;
        }
        if time + 1 < TIMES {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TIMES, await_late};

    #[test]
    fn a_segment_that_comes_late_is_no_hole() {
        let mut asked = Vec::new();
        let mut numbers = vec![1, 1000, 1003, 1001];
        await_late(&mut numbers, |number| {
            asked.push(number);
            Ok(asked.len() > 300)
        })
        .unwrap();
        // Far from the end nothing comes any more.
        assert_eq!(asked.first(), Some(&747));
        numbers.sort_unstable();
        assert_eq!(numbers.first(), Some(&1));
        assert!(numbers.ends_with(&[1000, 1001, 1002, 1003]));
        let (mut count, mut holed) = (0, vec![5, 7]);
        await_late(&mut holed, |_| {
            count += 1;
            Ok(false)
        })
        .unwrap();
        assert_eq!((count, holed), (TIMES, vec![5, 7]));
    }
}
