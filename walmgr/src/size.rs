//! Sizes in memory as sizes of files.

/// A size in memory.
pub(crate) fn wide(size: usize) -> u64 {
    u64::try_from(size).expect("no memory has more than 64 bits can count")
}
