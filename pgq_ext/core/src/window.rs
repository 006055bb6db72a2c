//! Which transactions the batch between two ticks consists of, and how to find their events by
//! index.
//!
//! The batch is every event whose transaction the later snapshot sees and the earlier one does not.
//! Those are nearly all in a short range of transaction ids; the few that started long before they
//! committed would stretch it, so they are looked up one by one. The rule is PgQ's own: older ids
//! are taken into the range while that widens it by at most [`NEAR`] at a time.

use crate::snapshot::Snapshot;

/// How far below the range an old transaction id may lie to be taken into it.
pub const NEAR: i64 = 100;

/// The transaction ids of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Lowest id of the range to scan.
    pub low: i64,
    /// Highest id of the range to scan. Within the range, [`Window::contains`] decides.
    pub high: i64,
    /// Ids below the range that belong to the batch as they are, descending.
    pub old: Vec<i64>,
    previous: Snapshot,
    current: Snapshot,
}

impl Window {
    /// The window between the snapshots of two ticks.
    pub fn new(previous: Snapshot, current: Snapshot) -> Self {
        let mut low = previous.xmax();
        let mut old = Vec::new();
        let ended = previous.in_progress().iter().rev().filter(|id| current.sees(**id));
        for &id in ended {
            if low - NEAR <= id {
                low = id;
            } else {
                old.push(id);
            }
        }
        Self { low, high: current.xmax(), old, previous, current }
    }

    /// Snapshot of the tick before the batch.
    pub fn previous(&self) -> &Snapshot {
        &self.previous
    }

    /// Snapshot of the tick at its end.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// True when events of this transaction belong to the batch.
    pub fn contains(&self, xid: i64) -> bool {
        self.current.sees(xid) && !self.previous.sees(xid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn snapshot(xmax: i64, xip: &[i64]) -> Snapshot {
        let xmin = xip.first().copied().unwrap_or(xmax);
        let list: Vec<_> = xip.iter().map(i64::to_string).collect();
        format!("{xmin}:{xmax}:{}", list.join(",")).parse().unwrap()
    }

    #[test]
    fn an_old_transaction_is_probed_and_does_not_widen_the_range() {
        let window = Window::new(snapshot(1000, &[10, 950, 990]), snapshot(1010, &[]));
        assert_eq!((window.low, window.high, window.old.as_slice()), (950, 1010, [10].as_slice()));
    }

    #[test]
    fn widening_cascades() {
        let window = Window::new(snapshot(1000, &[750, 820, 910]), snapshot(1010, &[]));
        assert_eq!((window.low, window.old.len()), (750, 0));
    }

    #[test]
    fn a_transaction_that_is_still_open_is_left_out() {
        let window = Window::new(snapshot(1000, &[10, 20]), snapshot(1010, &[20]));
        assert_eq!(window.old, [10]);
        assert!(!window.contains(20) && window.contains(10) && window.contains(1005));
    }

    proptest! {
        /// What is found through range and probes is exactly what the two snapshots say.
        #[test]
        fn range_and_probes_cover_the_batch(
            open in btree_set(1i64..2000, 0..40),
            still in any::<u64>(),
            later in btree_set(2000i64..2100, 0..20),
            last in 2000i64..2100,
        ) {
            let open: Vec<i64> = open.into_iter().collect();
            let previous = snapshot(2000, &open);
            let mut now: Vec<i64> = open
                .iter()
                .enumerate()
                .filter(|(i, _)| still >> (i % 64) & 1 == 1)
                .map(|(_, id)| *id)
                .collect();
            now.extend(later.into_iter().filter(|id| *id < last));
            let current = snapshot(last, &now);
            let window = Window::new(previous.clone(), current.clone());
            for xid in 1..2200 {
                let in_batch = current.sees(xid) && !previous.sees(xid);
                let in_range = (window.low..=window.high).contains(&xid) && window.contains(xid);
                let probed = window.old.contains(&xid);
                prop_assert_eq!(in_batch, in_range || probed, "xid {}", xid);
                prop_assert!(!(in_range && probed), "xid {} would come twice", xid);
            }
        }
    }
}
