//! Timelines: which branched off which, and where.

use std::collections::BTreeMap;

use crate::wal::history::Ancestor;
use crate::wal::lsn::Lsn;

/// The timelines whose history files an archive has, each with its ancestors, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timelines(BTreeMap<u32, Vec<Ancestor>>);

/// A part of the way to a timeline: WAL of one timeline from where it begins to where the next one
/// branches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Whose WAL it is.
    pub(crate) timeline: u32,
    /// Its first byte.
    pub(crate) begin: Lsn,
    /// The byte after its last one; none on the timeline that one goes to.
    pub(crate) end: Option<Lsn>,
}

impl Timelines {
    /// From the history files.
    pub(crate) fn new(histories: impl IntoIterator<Item = (u32, Vec<Ancestor>)>) -> Self {
        Self(histories.into_iter().filter(|(_, ancestors)| !ancestors.is_empty()).collect())
    }

    /// Add those of another archive.
    ///
    /// # Errors
    /// The number of one that has other ancestors here.
    pub(crate) fn add(&mut self, others: &Self) -> Result<(), u32> {
        for (timeline, ancestors) in &others.0 {
            match self.0.get(timeline) {
                Some(here) if here != ancestors => return Err(*timeline),
                Some(_) => {}
                None => drop(self.0.insert(*timeline, ancestors.clone())),
            }
        }
        Ok(())
    }

    /// The greatest number that has a history file.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.0.keys().next_back().copied()
    }

    /// All that have a history file.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.keys().copied()
    }

    /// True when it is known what a timeline branched off. The first one branched off nothing.
    pub(crate) fn is_known(&self, timeline: u32) -> bool {
        timeline == 1 || self.0.contains_key(&timeline)
    }

    /// What a timeline branched off, and where.
    pub(crate) fn parent(&self, timeline: u32) -> Option<Ancestor> {
        self.ancestors(timeline).last().copied()
    }

    /// Where later timelines have left one.
    pub(crate) fn branches(&self, timeline: u32) -> impl Iterator<Item = Lsn> + '_ {
        let ancestors = self.0.values().flatten();
        ancestors.filter(move |one| one.timeline == timeline).map(|one| one.end)
    }

    /// True when everything before a position of one timeline is part of another one's past, or of
    /// itself.
    pub(crate) fn leads(&self, timeline: u32, position: Lsn, to: u32) -> bool {
        timeline == to
            || self
                .ancestors(to)
                .iter()
                .any(|ancestor| ancestor.timeline == timeline && position <= ancestor.end)
    }

    /// The way to a timeline, from the oldest ancestor on.
    pub(crate) fn way(&self, to: u32) -> Vec<Stretch> {
        let mut begin = Lsn(0);
        let mut way = Vec::new();
        for ancestor in self.ancestors(to) {
            way.push(Stretch { timeline: ancestor.timeline, begin, end: Some(ancestor.end) });
            begin = ancestor.end;
        }
        way.push(Stretch { timeline: to, begin, end: None });
        way
    }

    /// What `recovery_target_timeline = latest` comes to on a server that starts on a timeline: it
    /// tries one number after the other, until one has no history file. Whether that is a
    /// descendant it checks only afterwards, and then does not start.
    pub(crate) fn servers_latest(&self, from: u32) -> u32 {
        let mut latest = from;
        while let Some(next) = latest.checked_add(1).filter(|next| self.0.contains_key(next)) {
            latest = next;
        }
        latest
    }

    fn ancestors(&self, timeline: u32) -> &[Ancestor] {
        self.0.get(&timeline).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::{Stretch, Timelines};
    use crate::wal::history::Ancestor;
    use crate::wal::lsn::Lsn;

    fn timelines() -> Timelines {
        let ancestor = |timeline, end| Ancestor { timeline, end: Lsn(end) };
        Timelines::new([
            (2, vec![ancestor(1, 50)]),
            (3, vec![ancestor(1, 30)]),
            (5, vec![ancestor(1, 50), ancestor(2, 80)]),
        ])
    }

    #[test]
    fn ancestry_reaches_to_the_switch_point() {
        let timelines = timelines();
        assert!(timelines.leads(1, Lsn(50), 2));
        assert!(!timelines.leads(1, Lsn(51), 2));
        assert!(timelines.leads(1, Lsn(50), 5));
        assert!(timelines.leads(2, Lsn(80), 5));
        assert!(!timelines.leads(3, Lsn(31), 5));
        assert!(timelines.leads(4, Lsn(99), 4));
        assert!(!timelines.is_known(4) && timelines.is_known(1));
    }

    #[test]
    fn a_way_has_no_gap() {
        let stretch = |timeline, begin, end: Option<u64>| Stretch {
            timeline,
            begin: Lsn(begin),
            end: end.map(Lsn),
        };
        let expected = [stretch(1, 0, Some(50)), stretch(2, 50, Some(80)), stretch(5, 80, None)];
        assert_eq!(timelines().way(5), expected);
        assert_eq!(timelines().way(4), [stretch(4, 0, None)]);
    }

    #[test]
    fn the_servers_latest_stops_at_the_first_number_without_history() {
        assert_eq!(timelines().servers_latest(1), 3);
        assert_eq!(timelines().servers_latest(4), 5);
        assert_eq!(timelines().servers_latest(5), 5);
    }
}
