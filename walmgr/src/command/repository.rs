//! `repository`: the repositories of the configuration, and copying between them.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repositories::copy::{self, What};

/// What to do with repositories.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// List them in the order in which they are asked.
    List,
    /// Copy what one has and others lack: WAL, and backups.
    Copy(Args),
}

/// Arguments of `repository copy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Copy from this one; else from the first.
    #[arg(long, value_name = "NAME")]
    from: Option<String>,
    /// Copy to this one; else to all the others.
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Copy no backups.
    #[arg(long)]
    wal_only: bool,
}

/// Do it.
pub(crate) fn run(context: &Context, action: &Action) -> Result<()> {
    match action {
        Action::List => list(context),
        Action::Copy(args) => copy_all(context, args),
    }
}

fn list(context: &Context) -> Result<()> {
    for repository in &context.config.repositories {
        let kind = if repository.required { "required" } else { "best effort" };
        log::print(format_args!("{:<16}  {kind:<11}  {}", repository.name, repository.location()?));
    }
    Ok(())
}

fn copy_all(context: &Context, args: &Args) -> Result<()> {
    let all = context.each();
    let named = |name: &str| {
        all.iter()
            .find(|one| one.repository() == name)
            .ok_or_else(|| Error::Usage(format!("there is no repository \"{name}\"")))
    };
    let from = match &args.from {
        Some(name) => named(name)?,
        None => context_first(&all)?,
    };
    let targets = match &args.to {
        Some(name) => vec![named(name)?],
        None => all.iter().filter(|one| one.repository() != from.repository()).collect(),
    };
    if targets.is_empty() || targets.iter().any(|one| one.repository() == from.repository()) {
        return Err(Error::Usage(format!(
            "nothing is copied from repository \"{}\" to itself",
            from.repository()
        )));
    }
    let what = if args.wal_only { What::Wal } else { What::Everything };
    let mut outcome = Ok(());
    for to in targets {
        match copy::copy(from, to, what) {
            Ok(copied) => log::notice(format_args!(
                "{} and {} copied from repository \"{}\" to \"{}\"",
                log::count(copied.wal, "WAL file"),
                log::count(copied.backups, "backup"),
                from.repository(),
                to.repository()
            )),
            Err(error) => {
                let error = error.in_repository(to.repository());
                match &outcome {
                    Ok(()) => outcome = Err(error),
                    Err(_) => log::error(&error),
                }
            }
        }
    }
    outcome
}

fn context_first(all: &[Context]) -> Result<&Context> {
    all.first().ok_or_else(|| Error::Usage("no repository is configured".to_owned()))
}
