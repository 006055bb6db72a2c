//! The whole program, from its arguments to its exit code.

use std::process::ExitCode;

use pgq_connect::has_secret;
use walmgr_protocol::Reply;

use crate::command::{Cli, archive_get};
use crate::daemon::client::{Asked, push_at_once};
use crate::pg::transport::Transport;
use crate::{cli, log, old_names};

/// Do what the process's arguments say. `transport`: what this program can do to connect.
pub fn main(transport: Transport) -> ExitCode {
    let asked = push_at_once(std::env::args_os());
    if matches!(asked, Asked::Answer(Reply::Done)) {
        return ExitCode::SUCCESS;
    }
    match Cli::from_process() {
        Ok(cli) => cli.run(transport, asked),
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
                _ if cli::is_archive_get() => ExitCode::from(archive_get::ABORT),
                _ => ExitCode::from(2),
            }
        }
    }
}
