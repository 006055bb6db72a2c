//! walmgr: WAL archiving, base backups, restore and standbys for PostgreSQL.
//!
//! Two programs are made of this library: `walmgr`, and `walmgr-tls`, which `walmgr` becomes for
//! verbs that may connect by TLS. Only the second loads OpenSSL: that takes longer than all that
//! `archive-get` does.
//!
//! Arrows point one way: `command` → `backup`, `restore`, `expire`, `metrics` → `history`; all,
//! and `daemon`, → `repo` → `wal`; `pg` knows the server and nothing of the repository. No command
//! that the server calls (`archive-push`, `archive-get`) starts a thread pool or an async runtime.
#![forbid(unsafe_code)]

mod adopt;
mod backup;
mod cli;
mod command;
mod config;
mod context;
mod daemon;
mod durable;
mod error;
mod expire;
mod failpoint;
mod flight;
mod history;
mod limit;
mod log;
mod manual;
mod metrics;
mod old_names;
mod pg;
mod plain_file;
mod process;
mod program;
mod programs;
mod repo;
mod repositories;
mod restore;
mod size;
mod sync;
mod value;
mod wal;

pub use pg::transport::Transport;
pub use program::main;
