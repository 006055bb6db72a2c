//! Where the events of a batch are, in the order of their ids: what pages are cut from.
//!
//! A batch is read by the index on transaction ids, which is not the order that its events are
//! delivered in. So that a batch handed out in pages is not read once for each page, a session
//! keeps the places of its events, sorted. A batch of any size fits: of a very large one the
//! listing has the first events after some id, and is made again when they are used up.
//!
//! Events may share an id: one that came again after it was put aside, or one inserted by hand. A
//! position is an id, so these are never divided.

/// Events of a batch after some id, with their places `P`.
#[derive(Debug)]
pub struct Listing<P> {
    after: Option<i64>,
    entries: Vec<(i64, P)>,
    is_whole: bool,
}

/// A [`Listing`] that is being made.
#[derive(Debug)]
pub struct Collector<P> {
    after: Option<i64>,
    most: usize,
    entries: Vec<(i64, P)>,
    /// Where events were left out: the last id that is kept.
    end: Option<i64>,
}

/// Where a page ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEnd {
    /// Id of its last event.
    pub last: i64,
    /// Nothing of the batch is left behind it.
    pub is_batch_end: bool,
}

/// Where a page ends that has only some of the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Here.
    Page(PageEnd),
    /// There are none.
    Nothing,
    /// There are none up to this id, where the listing ends.
    Behind(i64),
}

impl<P> Collector<P> {
    /// For events after an id, the first `most` of them or somewhat more.
    pub fn new(after: Option<i64>, most: usize) -> Self {
        Self { after, most: most.max(1), entries: Vec::new(), end: None }
    }

    /// Add an event of the batch.
    pub fn add(&mut self, id: i64, place: P) {
        if self.after.is_some_and(|after| id <= after) || self.end.is_some_and(|end| id > end) {
            return;
        }
        self.entries.push((id, place));
        if self.entries.len() >= self.most.saturating_mul(2) {
            self.shorten();
        }
    }

    /// Leave out the last ones.
    fn shorten(&mut self) {
        self.sort();
        let last = self.entries[self.most - 1].0;
        let kept = self.entries.partition_point(|(id, _)| *id <= last);
        if kept < self.entries.len() {
            self.entries.truncate(kept);
            self.end = Some(last);
        }
    }

    /// All have been added.
    pub fn finish(mut self) -> Listing<P> {
        self.sort();
        Listing { after: self.after, entries: self.entries, is_whole: self.end.is_none() }
    }

    fn sort(&mut self) {
        // Stable, and quick where most is in order already, as it is here.
        self.entries.sort_by_key(|(id, _)| *id);
    }
}

impl<P> Listing<P> {
    /// True when it has the first event after this id, or knows that there is none.
    pub fn covers(&self, after: Option<i64>) -> bool {
        let begins_before = self.after.is_none_or(|own| after.is_some_and(|after| own <= after));
        begins_before && (self.is_whole || self.begin(after) < self.entries.len())
    }

    /// The end of a page of `most` events after this id; None when there are none. It is shorter
    /// where the listing ends.
    pub fn page(&self, after: Option<i64>, most: usize) -> Option<PageEnd> {
        let begin = self.begin(after);
        let at_most = begin.saturating_add(most.max(1)).min(self.entries.len());
        if at_most == begin {
            return None;
        }
        let last = self.entries[at_most - 1].0;
        let end = self.entries.partition_point(|(id, _)| *id <= last);
        Some(PageEnd { last, is_batch_end: self.is_whole && end == self.entries.len() })
    }

    /// The same where only some of the events count.
    pub fn page_of(&self, after: Option<i64>, most: usize, counts: impl Fn(&P) -> bool) -> Part {
        let rest = &self.entries[self.begin(after)..];
        let mut counted = rest.iter().filter(|(_, place)| counts(place)).map(|(id, _)| *id);
        let Some(last) = counted.by_ref().take(most.max(1)).last() else {
            let end = (!self.is_whole).then(|| rest.last()).flatten();
            return end.map_or(Part::Nothing, |(id, _)| Part::Behind(*id));
        };
        let has_more = counted.any(|id| id > last);
        Part::Page(PageEnd { last, is_batch_end: self.is_whole && !has_more })
    }

    /// The events after one id, up to another.
    pub fn between(&self, after: Option<i64>, last: i64) -> &[(i64, P)] {
        let begin = self.begin(after);
        let end = self.entries.partition_point(|(id, _)| *id <= last);
        &self.entries[begin.min(end)..end]
    }

    fn begin(&self, after: Option<i64>) -> usize {
        after.map_or(0, |after| self.entries.partition_point(|(id, _)| *id <= after))
    }
}

#[cfg(test)]
mod tests {
    use super::{Collector, Listing, PageEnd, Part};

    fn listing(after: Option<i64>, most: usize, ids: &[i64]) -> Listing<usize> {
        let mut collector = Collector::new(after, most);
        for (place, id) in ids.iter().enumerate() {
            collector.add(*id, place);
        }
        collector.finish()
    }

    /// Read everything in pages, as sessions that have no listing at first.
    fn read(ids: &[i64], page: usize, most: usize) -> Vec<i64> {
        let mut found = Vec::new();
        let mut after = None;
        let mut known = listing(after, most, ids);
        loop {
            if !known.covers(after) {
                known = listing(after, most, ids);
            }
            let Some(end) = known.page(after, page) else { return found };
            let events = known.between(after, end.last);
            found.extend(events.iter().map(|(id, _)| *id));
            after = Some(end.last);
            if end.is_batch_end {
                return found;
            }
        }
    }

    #[test]
    fn every_event_is_in_one_page_whatever_the_sizes() {
        let mut state = 7_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for round in 0..300 {
            let count = random(60);
            let ids: Vec<_> = (0..count).map(|_| i64::try_from(random(40)).unwrap() - 20).collect();
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            for page in [1, 2, 7, 100] {
                for most in [1, 3, 10, 1000] {
                    assert_eq!(read(&ids, page, most), sorted, "round {round}: {page}, {most}");
                }
            }
        }
    }

    #[test]
    fn events_of_one_id_are_not_divided() {
        let known = listing(None, 100, &[1, 2, 2, 2, 3]);
        assert_eq!(known.page(None, 2), Some(PageEnd { last: 2, is_batch_end: false }));
        assert_eq!(known.between(None, 2).len(), 4);
        assert_eq!(known.page(Some(2), 2), Some(PageEnd { last: 3, is_batch_end: true }));
        assert_eq!(known.page(Some(3), 2), None);
    }

    #[test]
    fn parts_of_a_batch_are_read_in_pages_too() {
        let ids: Vec<i64> = (0..200).map(|n| n * 7 % 101).collect();
        for parts in [1, 2, 3, 50] {
            for page in [1, 2, 7, 1000] {
                for most in [1, 5, 1000] {
                    for part in 0..parts {
                        let is_mine = |place: &usize| ids[*place] % parts == part;
                        let (mut found, mut after) = (Vec::new(), None);
                        let mut known = listing(after, most, &ids);
                        loop {
                            if !known.covers(after) {
                                known = listing(after, most, &ids);
                            }
                            let end = match known.page_of(after, page, is_mine) {
                                Part::Page(end) => end,
                                Part::Nothing => break,
                                Part::Behind(id) => {
                                    after = Some(id);
                                    continue;
                                }
                            };
                            let events = known.between(after, end.last);
                            let mine = events.iter().filter(|(_, place)| is_mine(place));
                            found.extend(mine.map(|(id, _)| *id));
                            after = Some(end.last);
                            if end.is_batch_end {
                                break;
                            }
                        }
                        let mut due: Vec<_> =
                            ids.iter().copied().filter(|id| id % parts == part).collect();
                        due.sort_unstable();
                        assert_eq!(found, due, "part {part} of {parts}, {page}, {most}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_listing_says_what_it_does_not_know() {
        let first = listing(None, 2, &[5, 4, 3, 2, 1]);
        assert!(first.covers(None) && first.covers(Some(1)));
        assert!(!first.covers(Some(5)), "others may follow");
        let rest = listing(Some(3), 100, &[5, 4, 3, 2, 1]);
        assert!(!rest.covers(None) && !rest.covers(Some(2)));
        assert!(rest.covers(Some(3)) && rest.covers(Some(5)));
    }
}
