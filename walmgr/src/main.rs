//! walmgr: WAL archiving, base backups, restore and standbys for PostgreSQL in one binary.
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
mod repo;
mod repositories;
mod restore;
mod size;
mod sync;
mod value;
mod wal;

use std::process::ExitCode;

use pgq_connect::has_secret;
use walmgr_protocol::Reply;

use daemon::client::Asked;

fn main() -> ExitCode {
    let asked = daemon::client::push_at_once(std::env::args_os());
    if matches!(asked, Asked::Answer(Reply::Done)) {
        return ExitCode::SUCCESS;
    }
    match command::Cli::from_process() {
        Ok(cli) => cli.run(asked),
        Err(error) => {
            let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
            match old_names::instead(args).filter(|_| error.exit_code() != 0) {
                Some(instead) => log::error(instead),
                // It repeats what it does not understand.
                None if error.use_stderr() && has_secret(&error.to_string()) => {
                    log::error(error.to_string().trim_end());
                }
                // Nothing to do about a closed standard error.
                None => drop(error.print()),
            }
            match error.exit_code() {
                0 => ExitCode::SUCCESS,
                _ if cli::is_archive_get() => ExitCode::from(command::archive_get::ABORT),
                _ => ExitCode::from(2),
            }
        }
    }
}
