//! The resident half of archive-push and archive-get: works ahead on what PostgreSQL is going to
//! ask for, by several threads.
//!
//! `walmgr_protocol` says how they talk.
//!
//! It promises nothing that the commands do not promise without it, and they do without it when it
//! is away: [`client`] falls back to doing the work itself, which is safe since storing is
//! write-once. [`push`] looks ahead in `archive_status`, [`prefetch`] in the archive.

pub(crate) mod client;
pub(crate) mod prefetch;
pub(crate) mod push;
pub(crate) mod server;
pub(crate) mod settings;
mod socket;
pub(crate) mod threads;
