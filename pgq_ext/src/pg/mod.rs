//! The unsafe fence: every `unsafe` block of the extension is in this folder.
//!
//! Nothing here knows of queues. Each submodule wraps one PostgreSQL facility in a type or function that is safe to use
//! from the rest of the crate.
