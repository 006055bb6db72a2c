//! Reading an archive's history out of the repository. Timelines and backups are cheap; lists of WAL are as long as the WAL.

use crate::backup::info;
use crate::error::Result;
use crate::history::History;
use crate::history::runs::Runs;
use crate::history::timelines::Timelines;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::name::{Segment, WalName};

impl History {
    /// All of it.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupt`] when a history file or a backup cannot be read: without it, judgements would be wrong.
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
        let mut histories = Vec::new();
        for name in stanza.store.list(&stanza.key("wal"))? {
            if let Ok(WalName::History(timeline)) = WalName::parse(&name) {
                histories.push((timeline, wal::ancestors(stanza, timeline)?));
            }
        }
        let timelines = Timelines::new(histories);
        let backups = info::list(stanza)?;
        Ok(Self::new(stanza.info.wal_segment_size, timelines, backups, Runs::default()))
    }

    /// List the segments from a number on, of all timelines.
    ///
    /// # Errors
    /// [`crate::error::Error::Repository`].
    pub(crate) fn load_wal(&mut self, stanza: &Stanza, from: u64) -> Result<()> {
        let size = self.segment_size;
        for timeline in wal::timelines(stanza)? {
            let first = Segment { timeline, number: from }.name(size);
            let first = first.get(8..16).unwrap_or_default();
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
            self.wal.set(timeline, numbers);
        }
        Ok(())
    }
}
