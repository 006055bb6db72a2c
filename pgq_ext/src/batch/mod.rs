//! Batches: the events between two ticks.

pub(crate) mod events;
mod listed;
pub(crate) mod page;
mod span;
pub(crate) mod sql;
pub(crate) mod take;
pub(crate) mod waiting;
