//! Sizes in memory as sizes of files, and back.

/// A size in memory.
pub(crate) fn wide(size: usize) -> u64 {
    u64::try_from(size).expect("no memory has more than 64 bits can count")
}

/// What is known to fit into memory.
pub(crate) fn narrow(size: u64) -> usize {
    usize::try_from(size).expect("it is of something in memory")
}
