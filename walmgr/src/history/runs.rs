//! Which whole segments there are, as runs without a gap.

use std::collections::BTreeMap;

use crate::wal::name::Segment;

/// A run of segments of one timeline: numbers of the first and the last.
pub(crate) type Run = (u64, u64);

/// Runs of each timeline, ascending.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(BTreeMap<u32, Vec<Run>>);

impl Runs {
    /// Add segments to what is known of a timeline.
    pub(crate) fn add(&mut self, timeline: u32, numbers: impl IntoIterator<Item = u64>) {
        let known = self.0.remove(&timeline).unwrap_or_default();
        let known = known.into_iter().flat_map(|(first, last)| first..=last);
        self.set(timeline, known.chain(numbers));
    }

    /// Replace what is known of a timeline.
    pub(crate) fn set(&mut self, timeline: u32, numbers: impl IntoIterator<Item = u64>) {
        let mut numbers: Vec<u64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if number <= *last + 1 => *last = number,
                _ => runs.push((number, number)),
            }
        }
        match runs.is_empty() {
            true => self.0.remove(&timeline),
            false => self.0.insert(timeline, runs),
        };
    }

    /// Timelines that have segments.
    pub(crate) fn timelines(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.keys().copied()
    }

    /// The greatest timeline that has segments.
    pub(crate) fn newest_timeline(&self) -> Option<u32> {
        self.0.keys().next_back().copied()
    }

    /// The runs of a timeline.
    pub(crate) fn of(&self, timeline: u32) -> &[Run] {
        self.0.get(&timeline).map_or(&[], Vec::as_slice)
    }

    /// Number of the last segment that follows without a gap, if the segment is there.
    pub(crate) fn last_of_run(&self, segment: Segment) -> Option<u64> {
        let runs = self.of(segment.timeline);
        let at = runs.partition_point(|(first, _)| *first <= segment.number).checked_sub(1)?;
        runs.get(at).map(|(_, last)| *last).filter(|last| *last >= segment.number)
    }

    /// True when any segment of a timeline has a number from one to another, both included.
    pub(crate) fn any(&self, timeline: u32, from: u64, to: u64) -> bool {
        self.of(timeline).iter().any(|(first, last)| *first <= to && from <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::Runs;
    use crate::wal::name::Segment;

    #[test]
    fn runs_end_where_a_segment_is_missing() {
        let mut runs = Runs::default();
        runs.set(1, [7, 3, 4, 5]);
        assert_eq!(runs.of(1), [(3, 5), (7, 7)]);
        let last = |number| runs.last_of_run(Segment { timeline: 1, number });
        assert_eq!([2, 3, 5, 6, 7, 8].map(last), [None, Some(5), Some(5), None, Some(7), None]);
        assert!(runs.any(1, 5, 6) && !runs.any(1, 6, 6) && !runs.any(2, 0, 9));
        runs.add(1, [6, 9, 4]);
        runs.add(2, [1]);
        assert_eq!((runs.of(1), runs.of(2)), (&[(3, 7), (9, 9)][..], &[(1, 1)][..]));
    }
}
