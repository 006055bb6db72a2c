//! Events going into a queue.

pub(crate) mod entry;
pub(crate) mod insert;
mod limit;
pub(crate) mod queue_cache;
pub(crate) mod send;
pub(crate) mod unique;
