//! The unsafe fence: every `unsafe` block of the extension is in this folder.
//!
//! Nothing here knows of queues. Each submodule wraps one PostgreSQL facility in types and
//! functions that are safe to use from the rest of the crate.
#![expect(unsafe_code, reason = "this folder is the fence")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "operations that rest on the same SAFETY sentence share a block"
)]

pub(crate) mod always_trigger;
pub(crate) mod call;
pub(crate) mod catalog;
pub(crate) mod entry;
pub(crate) mod freshness;
pub(crate) mod function;
pub(crate) mod heap;
pub(crate) mod hot;
pub(crate) mod index_scan;
pub(crate) mod invalidation;
pub(crate) mod load;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod plan;
pub(crate) mod ports;
pub(crate) mod query;
pub(crate) mod relation;
pub(crate) mod row;
pub(crate) mod row_store;
pub(crate) mod sequence;
pub(crate) mod session;
pub(crate) mod snapshot;
pub(crate) mod text;
pub(crate) mod text_buffer;
pub(crate) mod trigger;
pub(crate) mod xact;
