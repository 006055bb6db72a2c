//! Timeline history files: which timeline branched off which, and where.

use crate::error::{Error, Result};
use crate::wal::lsn::Lsn;

/// One ancestor of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ancestor {
    /// The ancestor.
    pub(crate) timeline: u32,
    /// Where its successor branched off.
    pub(crate) end: Lsn,
}

/// Parse the history file of a timeline: its ancestors, oldest first.
///
/// A server that recovers to before the branch of the timeline it follows names that timeline as
/// the parent all the same: `1 0/5`, then `2 0/3`. What a later line has cut off does not count, so
/// here no end is greater than the next one.
///
/// # Errors
/// [`Error::Corrupt`] when a line is not `TIMELINE<blank>LSN…`, or timelines do not ascend to below
/// `timeline`.
pub(crate) fn parse(timeline: u32, text: &str) -> Result<Vec<Ancestor>> {
    let bad = |line: &str| {
        Error::Corrupt(format!("history file of timeline {timeline}: bad line \"{line}\""))
    };
    let mut ancestors: Vec<Ancestor> = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut fields = line.split_whitespace();
        let ancestor = fields.next().and_then(|field| field.parse().ok()).zip(fields.next());
        let (ancestor, end) = ancestor.ok_or_else(|| bad(line))?;
        let end: Lsn = end.parse().map_err(|_| bad(line))?;
        let ascends = ancestors.last().is_none_or(|last| last.timeline < ancestor);
        if !ascends || ancestor >= timeline {
            return Err(bad(line));
        }
        for earlier in &mut ancestors {
            earlier.end = earlier.end.min(end);
        }
        ancestors.push(Ancestor { timeline: ancestor, end });
    }
    if ancestors.is_empty() {
        return Err(Error::Corrupt(format!(
            "history file of timeline {timeline} names no ancestor"
        )));
    }
    Ok(ancestors)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ancestors_are_read_in_order() {
        let ancestors = parse(3, "1\t0/3000000\tno recovery target\n\n2\t0/5000060\tx\n").unwrap();
        assert_eq!(ancestors.iter().map(|a| a.timeline).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(ancestors[1].end.to_string(), "0/5000060");
    }

    #[test]
    fn an_earlier_branch_cuts_off_what_came_after_it() {
        let ancestors = parse(4, "1\t0/5\n2\t0/8\n3\t0/3\n").unwrap();
        assert_eq!(
            ancestors.iter().map(|a| (a.timeline, a.end.0)).collect::<Vec<_>>(),
            [(1, 3), (2, 3), (3, 3)]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "1", "x\t0/1", "3\t0/1\n", "2\t0/1\n1\t0/2\n", "2\t0/1\n2\t0/2\n"] {
            assert!(parse(3, text).is_err(), "{text:?}");
        }
    }
}
