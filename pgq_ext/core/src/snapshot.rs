//! Transaction snapshots in the form ticks store them: `xmin:xmax:xip,xip,…` with 64-bit ids.

use std::fmt;
use std::str::FromStr;

/// Which transactions had ended at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    xmin: i64,
    xmax: i64,
    /// In progress at that moment; ascending, all within `xmin..xmax`.
    xip: Vec<i64>,
}

/// A text that is not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSnapshot(String);

impl fmt::Display for InvalidSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not a transaction snapshot", self.0)
    }
}

impl std::error::Error for InvalidSnapshot {}

impl Snapshot {
    /// The lowest transaction id that was in progress, or `xmax` when none was.
    pub fn xmin(&self) -> i64 {
        self.xmin
    }

    /// One more than the highest transaction id that had ended.
    pub fn xmax(&self) -> i64 {
        self.xmax
    }

    /// The ids that were in progress, ascending.
    pub fn in_progress(&self) -> &[i64] {
        &self.xip
    }

    /// True when the transaction had ended before the snapshot (`txid_visible_in_snapshot`).
    pub fn sees(&self, xid: i64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list: Vec<_> = self.xip.iter().map(i64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, list.join(","))
    }
}

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.splitn(3, ':');
            let xmin: i64 = parts.next()?.parse().ok()?;
            let xmax: i64 = parts.next()?.parse().ok()?;
            let list = parts.next()?;
            let xip: Vec<i64> = match list {
                "" => Vec::new(),
                list => list.split(',').map(|id| id.parse().ok()).collect::<Option<_>>()?,
            };
            let is_ascending = xip.is_sorted() && xip.iter().all(|id| (xmin..xmax).contains(id));
            (0 < xmin && xmin <= xmax && is_ascending).then_some(Self { xmin, xmax, xip })
        };
        parse().ok_or_else(|| InvalidSnapshot(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_postgres_prints() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().unwrap();
        assert!(snapshot.sees(9) && snapshot.sees(11) && snapshot.sees(19));
        assert!(!snapshot.sees(10) && !snapshot.sees(14) && !snapshot.sees(20));
        let empty: Snapshot = "10:10:".parse().unwrap();
        assert!(empty.sees(9) && !empty.sees(10));
        assert_eq!(
            (snapshot.to_string(), empty.to_string()),
            ("10:20:10,14,15".into(), "10:10:".into())
        );
    }

    #[test]
    fn rejects_what_is_not_a_snapshot() {
        for text in ["", "1", "1:2", "2:1:", "0:1:", "1:5:4,2", "1:5:5", "1:5:0", "1:5:x", "1:5:2,"]
        {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }
}
