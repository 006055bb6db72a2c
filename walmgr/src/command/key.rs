//! `key`: the keys that open an encrypted repository.

use std::path::PathBuf;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::Store;
use crate::repo::sealed::rotate::{self, NewKey, Others};
use crate::repo::sealed::settings::Encryption;
use crate::repo::sealed::{ring, secret};
use crate::repo::settings::Repository;
use crate::repositories;

/// Arguments of `key`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Write a new key to a new file; needs no configuration.
    Generate {
        /// The file.
        file: PathBuf,
    },
    #[command(flatten)]
    OfRepository(OfRepository),
}

/// What to do with the keys of a repository.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum OfRepository {
    /// List the keys that open the repository; needs none of them.
    List,
    /// Let one more key or passphrase open the repository.
    Add(Add),
    /// Let a key open the repository no more.
    Remove {
        /// Name of the key.
        id: String,
    },
    /// Put a new key in the place of the configured key file, and remove the old one.
    Rotate,
}

/// Arguments of `key add`.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// A key file that `walmgr key generate` made.
    #[arg(long, value_name = "FILE", required_unless_present = "passphrase_file")]
    key_file: Option<PathBuf>,
    /// A file whose first line is a passphrase.
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// Words to remember whose it is; anybody who sees the repository can read them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
}

/// Make a key file.
pub(crate) fn generate(file: &std::path::Path, dry_run: bool) -> Result<()> {
    if dry_run {
        log::print(format_args!("would write a new key to {}", file.display()));
        return Ok(());
    }
    let id = secret::generate(file)?;
    log::notice(format_args!(
        "key {id} written to {}; keep a copy elsewhere: without it the repository is lost",
        file.display()
    ));
    Ok(())
}

/// Work on the keys of the configured repositories.
pub(crate) fn run(context: &Context, verb: &OfRepository) -> Result<()> {
    let is_encrypted = |one: &Repository| one.encryption.is_some();
    if !matches!(verb, OfRepository::List) && !context.config.repositories.iter().any(is_encrypted)
    {
        return settings(context).map(drop);
    }
    repositories::each(context, |one| match verb {
        // Of several, some may not be.
        OfRepository::Add(_) | OfRepository::Remove { .. } | OfRepository::Rotate
            if !is_encrypted(&one.config.repository) =>
        {
            log::print("not encrypted");
            Ok(())
        }
        OfRepository::List
            if !one.is_alone() && ring::repository(one.bare_store()?.as_ref())?.is_none() =>
        {
            log::print("not encrypted");
            Ok(())
        }
        _ => run_one(one, verb),
    })
}

fn run_one(context: &Context, verb: &OfRepository) -> Result<()> {
    let store = context.bare_store()?;
    match verb {
        OfRepository::List => list(store.as_ref()),
        OfRepository::Add(add) => add_one(context, store.as_ref(), add),
        OfRepository::Remove { id } => {
            if context.dry_run {
                log::print(format_args!("would remove key {id}"));
                return Ok(());
            }
            match rotate::remove(store.as_ref(), settings(context)?, id)? {
                true => log::notice(format_args!("key {id} opens the repository no more")),
                false => log::notice(format_args!("key {id} is none of the repository's")),
            }
            Ok(())
        }
        OfRepository::Rotate => {
            if context.dry_run {
                log::print("would put a new key in the place of the configured key file");
                return Ok(());
            }
            let rotated = rotate::rotate(store.as_ref(), settings(context)?, &others(context))?;
            log::notice(format_args!(
                "key {} is in the place of key {}, which opens the repository no more; keep a copy \
                 of the key file elsewhere, and remove {} once nothing else needs the old key",
                rotated.new,
                rotated.old,
                rotated.kept.display()
            ));
            if let Some(stays) = rotated.stays {
                log::warning(format_args!(
                    "key {stays}, which an earlier rotation replaced, was added again and stays: \
                     walmgr key remove {stays} removes it"
                ));
            }
            Ok(())
        }
    }
}

fn settings(context: &Context) -> Result<&Encryption> {
    context.config.repository.encryption.as_ref().ok_or_else(|| {
        Error::Usage("repository.encryption is not set: there is no key to work with".to_owned())
    })
}

/// The repositories beside this one in the configuration.
fn others(context: &Context) -> Others<'_> {
    let config = &context.config;
    let all = config.others().iter().chain(&config.repositories);
    let others = all.filter(|one| one.name != config.repository.name);
    let others = others.filter_map(|one| Some((one.name.as_str(), one.encryption.as_ref()?)));
    Others { own: &config.repository.name, others: others.collect() }
}

fn list(store: &dyn Store) -> Result<()> {
    let Some(repository) = ring::repository(store)? else {
        return Err(Error::Key(format!("repository {} is not encrypted", store.describe())));
    };
    let keys = ring::keys(store, &repository)?;
    for slot in keys.slots {
        log::print(
            format!(
                "{}  {:10}  {}  {}",
                slot.id,
                slot.kind.word(),
                log::time(slot.created),
                slot.label
            )
            .trim_end(),
        );
    }
    for (id, why) in &keys.useless {
        // Whoever has the storage chose the name.
        let line = format!("{id}  useless     {why}");
        log::print(line.replace(char::is_control, "?"));
    }
    Ok(())
}

fn add_one(context: &Context, store: &dyn Store, add: &Add) -> Result<()> {
    let new = match (&add.key_file, &add.passphrase_file) {
        (Some(path), _) => NewKey::File(path),
        (None, Some(path)) => NewKey::Passphrase(path),
        (None, None) => return Err(Error::Usage("--key-file or --passphrase-file".to_owned())),
    };
    let settings = settings(context)?;
    if context.dry_run {
        log::print("would add a key");
        return Ok(());
    }
    let (slot, is_new) = rotate::add(store, settings, &new, &add.label)?;
    match is_new {
        true => log::notice(format_args!("key {} opens the repository from now on", slot.id)),
        false => log::notice(format_args!("key {} opens the repository already", slot.id)),
    }
    Ok(())
}
