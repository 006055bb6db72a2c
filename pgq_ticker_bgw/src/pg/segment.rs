//! The layout of the worker's piece of shared memory: a header, slots of databases, waiters.

use std::mem::size_of;
use std::slice;

use super::{ports, shmem};
use crate::settings;
use crate::shared::{Database, Header, Waiter};

/// The parts of the piece, if the server has one.
pub(crate) fn map() -> Option<(&'static Header, &'static [Database], &'static [Waiter])> {
    let start = shmem::start()?;
    // SAFETY: the piece has room for a header, then the slots, then the waiters (see `size`), each
    // part's alignment divides its size, all bit patterns are valid for atomics, and the memory
    // stays mapped until the process ends.
    unsafe {
        let databases = start.add(size_of::<Header>());
        let waiters = databases.add(size_of::<Database>() * slots());
        Some((
            start.cast::<Header>().as_ref(),
            slice::from_raw_parts(databases.cast::<Database>().as_ptr(), slots()),
            slice::from_raw_parts(waiters.cast::<Waiter>().as_ptr(), ports::max_backends()),
        ))
    }
}

/// Bytes of the piece.
pub(crate) fn size() -> usize {
    size_of::<Header>()
        + size_of::<Database>() * slots()
        + size_of::<Waiter>() * ports::max_backends()
}

/// One for each worker, and one more to look into a database while all workers are in use.
fn slots() -> usize {
    settings::max_workers() + 1
}
