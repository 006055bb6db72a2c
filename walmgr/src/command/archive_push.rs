//! `archive-push %p`: the server's `archive_command`.
//!
//! Exit code 0 means that the file is durable in the repository. Everything else is 1 to 125, which
//! the archiver logs, counts and retries; codes above, and signals, would make it restart and
//! stall.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::daemon::client;
use crate::daemon::protocol::{Reply, Verb};
use crate::error::{Error, Result};
use crate::log;
use crate::pg::control;
use crate::repo::wal::Pushed;
use crate::repositories::push;
use crate::wal::name::WalName;

/// Arguments of `archive-push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path of the WAL file (%p).
    path: PathBuf,
    /// Its name (%f); the last part of the path when it is not given.
    name: Option<String>,
    /// What the daemon has said already.
    #[arg(skip)]
    pub(crate) answer: Option<Reply>,
}

/// Store one WAL file.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => leaf(&args.path)?,
    };
    let name = WalName::parse(&name)?;
    if context.dry_run {
        log::print(format_args!("would store {} as {name}", args.path.display()));
        return Ok(());
    }
    let pushed = store(context, &name, args)?;
    match pushed {
        Pushed::Stored => log::debug(format_args!("{name} stored")),
        Pushed::AlreadyThere => log::debug(format_args!("{name} was stored already")),
        Pushed::Replaced => {
            log::warning(format_args!("{name} stored anew in place of a damaged object"))
        }
    }
    Ok(())
}

fn store(context: &Context, name: &WalName, args: &Args) -> Result<Pushed> {
    let path = &args.path;
    // The daemon goes by the file's own name.
    let text = name.to_string();
    let ask =
        || path.ends_with(&text).then(|| client::ask(context, Verb::Push, &text, path)).flatten();
    match args.answer.clone().or_else(ask) {
        Some(Reply::Done) => return Ok(Pushed::Stored),
        Some(Reply::Failed(code, message)) => return Err(Error::Daemon(code, message)),
        // It is not there, or not any more: without it, then.
        _ => {}
    }
    let mut systems = Vec::new();
    if let Some(data) = context.data_of_server() {
        systems.extend(control::system_identifier(&data)?);
    }
    push::everywhere(context, &systems, name, path)
}

fn leaf(path: &Path) -> Result<String> {
    path.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| Error::Usage(format!("{} has no file name", path.display())))
}
