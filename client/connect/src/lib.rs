//! What libpq's connection strings mean, once for all programs: `pgq`, `pgq_client` and walmgr.
//!
//! Nothing here prints or logs a secret, and [`redact()`] takes those of others out of any text.
#![forbid(unsafe_code)]

mod redact;

pub use redact::{has_secret, redact};
