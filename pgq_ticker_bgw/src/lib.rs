//! PgQ's background worker, linked into `pgq.so`.
#![deny(unsafe_code)]

mod dirty;
#[expect(unsafe_code, reason = "the fence")]
mod pg;

pub use dirty::mark_dirty;

/// Set up the library in this process. To be called from `_PG_init`.
pub fn init() {}
