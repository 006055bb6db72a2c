//! The unsafe fence of the worker: every `unsafe` block of this crate is in this folder.
//!
//! Each submodule wraps one PostgreSQL facility in something that is safe to use; none knows what a queue is.

pub(crate) mod xact;
