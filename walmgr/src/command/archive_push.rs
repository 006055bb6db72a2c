//! `archive-push %p`: the server's `archive_command`.
//!
//! Exit code 0 means that the file is durable in the repository. Everything else is 1 to 125, which
//! the archiver logs, counts and retries; codes above, and signals, would make it restart and
//! stall.

use std::path::PathBuf;

use walmgr_protocol::{Reply, Verb};

use crate::context::Context;
use crate::daemon::client::{self, Asked};
use crate::error::{Error, Result};
use crate::log;
use crate::pg::control;
use crate::repo::wal::Pushed;
use crate::repositories::push;
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// Arguments of `archive-push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the WAL file (%p).
    path: PathBuf,
    /// Its name (%f); the last part of the path when it is not given.
    name: Option<String>,
}

/// Store one WAL file. `asked`: what came already of asking the daemon.
pub(crate) fn run(context: &Context, args: &Args, asked: Asked) -> Result<()> {
    let path = args.path.clone();
    let file = match &args.name {
        Some(name) => WalFile { name: WalName::parse(name)?, path },
        None => WalFile::at(path)?,
    };
    let name = &file.name;
    if context.dry_run {
        log::print(format_args!("would store {} as {name}", file.path.display()));
        // A server that was told to ask like this must keep the file.
        return Err(Error::Failed("a dry run stores nothing".to_owned()));
    }
    let pushed = store(context, &file, asked)?;
    match pushed {
        Pushed::Stored => log::debug(format_args!("{name} stored")),
        Pushed::AlreadyThere => log::debug(format_args!("{name} was stored already")),
        Pushed::Replaced => {
            log::warning(format_args!("{name} stored anew in place of a damaged object"))
        }
    }
    Ok(())
}

fn store(context: &Context, file: &WalFile, asked: Asked) -> Result<Pushed> {
    let asked = match asked {
        // It goes by the file's own name.
        Asked::Nobody if file.has_its_name() => client::ask(context, Verb::Push, file),
        asked => asked,
    };
    match asked {
        Asked::Answer(Reply::Done) => return Ok(Pushed::Stored),
        Asked::Answer(Reply::Failed(code, message)) => return Err(Error::Daemon(code, message)),
        // It is not there, or not any more: without it, then.
        _ => {}
    }
    let mut systems = Vec::new();
    if let Some(data) = context.data_of_server() {
        systems.extend(control::system_identifier(&data)?);
    }
    let pushed = push::everywhere(context, &systems, file)?;
    // Another configuration may name more repositories.
    context.config.file.check()?;
    Ok(pushed)
}
