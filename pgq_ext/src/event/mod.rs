//! Events going into a queue.

pub(crate) mod functions;
pub(crate) mod insert;
mod limit;
pub(crate) mod queue_cache;
