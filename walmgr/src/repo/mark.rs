//! Objects that say something of a backup, beside its information and its manifest:
//! `backup/ID.pin.N` and `backup/ID.standalone`.

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is pinned. The greatest number counts.
    Pin(u32),
    /// Only the WAL of its own is left.
    Standalone,
}

const PIN: &str = ".pin.";
const STANDALONE: &str = ".standalone";

impl Mark {
    /// The backup that a name in the directory of backups marks, and how.
    pub(crate) fn parse(name: &str) -> Option<(&str, Self)> {
        if let Some(id) = name.strip_suffix(STANDALONE) {
            return Some((id, Self::Standalone));
        }
        let (id, text) = name.rsplit_once(PIN)?;
        let number: u32 = text.parse().ok()?;
        // Only as it is written: +7 and 07 would be looked for as 7.
        (number.to_string() == text).then_some((id, Self::Pin(number)))
    }

    /// The name of a backup's mark.
    pub(crate) fn name(self, id: &str) -> String {
        match self {
            Self::Pin(number) => format!("{id}{PIN}{number}"),
            Self::Standalone => format!("{id}{STANDALONE}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn names_are_marks_as_they_are_written_and_in_no_other_way() {
        for mark in [Mark::Pin(0), Mark::Pin(10), Mark::Pin(u32::MAX), Mark::Standalone] {
            assert_eq!(Mark::parse(&mark.name("a")), Some(("a", mark)));
        }
        for name in ["a.json", "a.pin.x", "a.pin.", "a.pin.+9", "a.pin.09", "a.pin.4294967296"] {
            assert_eq!(Mark::parse(name), None, "{name}");
        }
    }
}
