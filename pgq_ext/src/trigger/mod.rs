//! Change capture: triggers that put the changes of a table into a queue.
//!
//! `logutriga`, `jsontriga`, `sqltriga` and the old `logtriga` differ in how they write a row;
//! everything else is shared:
//!
//! * [`entry`] is what SQL calls, [`protocol`] the order of the checks,
//! * [`capture`] is what is known of one trigger on one table, kept by [`cache`],
//! * [`data`] writes rows, [`overrides`] replaces fields of the event, [`publish`] hands it to
//!   `pgq.insert_event`.

mod cache;
mod capture;
mod data;
pub(crate) mod entry;
mod expression;
mod format;
mod overrides;
mod protocol;
mod publish;
mod scratch;
