//! `cleanup`: remove a cluster's whole stanza, with all its WAL and backups, from the repository.
//!
//! Lists what would go and does nothing without `--yes`; never while the server still archives into
//! it.

use std::time::Duration;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::expire::locked;
use crate::log;
use crate::pg::sql;
use crate::repo::LockMode;
use crate::repo::Store;

/// Arguments of `cleanup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Do it. Nothing brings it back.
    #[arg(long)]
    yes: bool,
    /// Remove only the WAL and the backups of this system, which the stanza had before a
    /// stanza-upgrade.
    #[arg(long, value_name = "IDENTIFIER")]
    system: Option<u64>,
}

/// Remove the stanza.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut stanza = context.stanza()?;
    let mut keys = Vec::new();
    let mut directories = vec![stanza.title.clone()];
    let name = match args.system {
        Some(system) if system == stanza.info.system_identifier => {
            return Err(Error::Usage(format!(
                "system {system} is the present one of stanza \"{}\" (cleanup without --system)",
                stanza.title
            )));
        }
        Some(system) => {
            stanza = stanza.of(system)?;
            // Later systems may lie in its directory, and be at work.
            directories = ["backup", "pack", "wal"].map(|one| stanza.key(one)).to_vec();
            for directory in &directories {
                collect(stanza.store.as_ref(), directory, &mut keys)?;
            }
            // The system stays known: its WAL is refused for ever.
            keys.retain(|key| !key.ends_with("/README"));
            stanza.name.clone()
        }
        None => {
            collect(stanza.store.as_ref(), &stanza.title, &mut keys)?;
            stanza.title.clone()
        }
    };
    // What makes backups exist goes first, what makes the stanza exist last.
    let rank = |key: &String| match key {
        key if key.ends_with("/stanza.json") => 2,
        key if key.ends_with(".json") => 0,
        _ => 1,
    };
    keys.sort_by_key(rank);
    if !args.yes || context.dry_run {
        for key in &keys {
            log::print(format_args!("would remove {key}"));
        }
        if !args.yes {
            log::notice("nothing was removed: --yes does it");
        }
        return Ok(());
    }
    if let Some(conninfo) = &context.config.cluster.connect
        && let Ok(mut client) = sql::connect(context.transport, conninfo)
        && sql::stanza_info(&mut client)?.system_identifier == stanza.info.system_identifier
        && sql::archiver(&mut client)? == sql::Archiver::Walmgr
    {
        return Err(Error::Locked(
            "the server still archives into this stanza (walmgr stop)".to_owned(),
        ));
    }
    let systems = match args.system {
        Some(_) => vec![stanza.name.clone()],
        None => context.systems()?.into_iter().map(|one| one.name).collect(),
    };
    let mut locks = Vec::new();
    for system in systems {
        for lock in ["backup", "expire"] {
            let key = format!("{system}/locks/{lock}");
            locks.push(stanza.store.lock(&key, LockMode::Exclusive)?);
        }
    }
    for directory in &directories {
        stanza.store.sweep(directory, Duration::ZERO)?;
    }
    locks.iter_mut().try_for_each(|lock| lock.check())?;
    let removed = locked::remove(&stanza, &keys)?;
    let left = if removed == keys.len() { "removed" } else { "not wholly removed" };
    log::notice(format_args!("\"{name}\" {left}: {removed} objects"));
    Ok(())
}

fn collect(store: &dyn Store, directory: &str, keys: &mut Vec<String>) -> Result<()> {
    for name in store.list(directory)? {
        let key = format!("{directory}/{}", name.trim_end_matches('/'));
        if name.ends_with('/') { collect(store, &key, keys)? } else { keys.push(key) }
    }
    Ok(())
}
