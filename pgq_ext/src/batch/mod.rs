//! Batches: the events between two ticks.

mod event_table;
pub(crate) mod events;
mod kept_query;
mod span;
pub(crate) mod sql;
pub(crate) mod waiting;
