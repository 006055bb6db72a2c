//! The unsafe fence of the worker: every `unsafe` block of this crate is in this folder.
//!
//! Each submodule wraps one PostgreSQL facility in something that is safe to use, and none knows
//! what a queue is. Two are the border to the rest of the crate: [`segment`] lays the crate's
//! structures out in shared memory, and [`export`] has its entry points.

#![expect(unsafe_code, reason = "this folder is the fence")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "operations that rest on the same SAFETY sentence share a block"
)]

pub(crate) mod activity;
pub(crate) mod catalog;
mod discard;
pub(crate) mod export;
pub(crate) mod guc;
pub(crate) mod latch;
pub(crate) mod limit;
mod ports;
pub(crate) mod procedure;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod rights;
pub(crate) mod segment;
pub(crate) mod session;
pub(crate) mod shmem;
pub(crate) mod text;
pub(crate) mod utility;
pub(crate) mod xact;
