//! Batches: the events between two ticks.

pub(crate) mod events;
mod kept_query;
mod span;
pub(crate) mod sql;
