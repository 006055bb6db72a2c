//! Streaming the WAL as it is written, instead of segment by segment: a receiver ([`receiver`])
//! that fills a spool directory, and what becomes of the spool ([`spool`]): whole segments go to
//! the repository, the growing one stays for a restore that asks for it.

pub(crate) mod receiver;
pub(crate) mod settings;
pub(crate) mod spool;
