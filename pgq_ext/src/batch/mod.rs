//! Batches: the events between two ticks.

pub(crate) mod events;
pub(crate) mod open_batch;
pub(crate) mod sql;
