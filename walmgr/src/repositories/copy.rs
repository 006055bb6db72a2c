//! Copying from one repository to another what the other lacks.
//!
//! Objects are write-once and say by their names what they are, so a copy that was interrupted goes
//! on where it was, and two at once do no harm. A backup exists when its `ID.json` does: that comes
//! last. WAL is verified before it is copied; packs are held against their hashes by `verify`.

use std::collections::BTreeSet;
use std::io;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::repo::{Created, Store};
use crate::wal::name::WalName;

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    /// WAL files.
    pub(crate) wal: usize,
    /// Backups.
    pub(crate) backups: usize,
}

/// What to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// WAL, and backups with all that they consist of.
    Everything,
    /// WAL only.
    Wal,
    /// WAL only, and only into a stanza that is there: nobody watches.
    Backlog,
}

/// Copy what one repository has of the stanza, and the other lacks. Neither may be expired
/// meanwhile.
///
/// # Errors
/// [`Error::Mismatch`] when they are of different clusters, [`Error::Locked`] while one is expired,
/// [`Error::Repository`] when the other is no repository: a place where one is not mounted looks
/// like an empty one, so only a set-up makes it a repository.
pub(crate) fn copy(from: &Context, to: &Context, what: What) -> Result<Copied> {
    let systems = from.systems()?;
    if !to.dry_run && what != What::Backlog {
        create(&systems, to)?;
    }
    let mut copied = Copied::default();
    for source in &systems {
        let target = to.stanza()?.of(source.info.system_identifier)?;
        let _locks = (from.reading(source)?, to.reading(&target)?);
        copied.wal += copy_wal(to, source, &target)?;
        if what == What::Everything {
            copied.backups += copy_backups(to, source, &target)?;
        }
    }
    Ok(copied)
}

/// Make the stanza with all the systems that it has had.
fn create(systems: &[Stanza], to: &Context) -> Result<()> {
    let name = &to.config.stanza;
    for (at, system) in systems.iter().enumerate() {
        if at == 0 {
            let store = to.store()?;
            if store.open(&format!("{name}/stanza.json"))?.is_none() {
                Stanza::create(store, name, &system.info)?;
            }
        }
        let there = to.stanza()?;
        let known = there.info.system_identifier == system.info.system_identifier
            || there.earlier().any(|one| one.system_identifier == system.info.system_identifier);
        if !known && at > 0 {
            there.upgrade(&system.info)?;
        } else if !known {
            return there.check_system(system.info.system_identifier);
        }
    }
    Ok(())
}

fn copy_wal(to: &Context, source: &Stanza, target: &Stanza) -> Result<usize> {
    let directory = |stanza: &Stanza| stanza.key("wal");
    let (mut copied, mut damaged) = (0, 0);
    for rest in missing(source, target, &directory)? {
        let key = format!("{}/{rest}", directory(source));
        let leaf = rest.rsplit('/').next().unwrap_or(&rest);
        let name = match leaf.rsplit_once(".partial.") {
            Some((segment, _)) => WalName::parse(&format!("{segment}.partial")),
            None => WalName::parse(leaf),
        };
        // Whatever else lies there is not WAL.
        let Ok(name) = name else { continue };
        if to.dry_run {
            log::print(format_args!("would copy {key}"));
            copied += 1;
            continue;
        }
        match wal_file(source, target, &name, &key) {
            Ok(created) => copied += usize::from(created == Created::New),
            // The others are whole.
            Err(Error::Corrupt(why)) => {
                log::error(Error::Corrupt(why));
                damaged += 1;
            }
            Err(error) => return Err(error),
        }
    }
    match damaged {
        0 => Ok(copied),
        number => Err(Error::Corrupt(format!(
            "{} not copied, {} copied",
            log::count(number, "damaged WAL file"),
            log::count(copied, "WAL file")
        ))),
    }
}

/// Copy one WAL file, verified, by its key at the source.
///
/// # Errors
/// [`Error::Corrupt`] for a damaged one, which is not copied.
pub(crate) fn wal_file(
    source: &Stanza,
    target: &Stanza,
    name: &WalName,
    key: &str,
) -> Result<Created> {
    wal::verify(source, name, key)?;
    let rest = key.strip_prefix(&format!("{}/", source.name)).unwrap_or(key);
    object(source.store.as_ref(), key, target.store.as_ref(), &target.key(rest))
}

fn copy_backups(to: &Context, source: &Stanza, target: &Stanza) -> Result<usize> {
    let mut copied = 0;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for directory in ["pack", "backup"] {
        let of = |stanza: &Stanza| stanza.key(directory);
        for rest in missing(source, target, &of)? {
            let key = format!("{directory}/{rest}");
            if key.ends_with(".json") { last.push(key) } else { first.push(key) }
        }
    }
    for key in first.iter().chain(&last) {
        if to.dry_run {
            log::print(format_args!("would copy {}", source.key(key)));
            continue;
        }
        failpoint::visit("copy.object").map_err(Error::local("copy"))?;
        object(source.store.as_ref(), &source.key(key), target.store.as_ref(), &target.key(key))?;
        if key.ends_with(".json") {
            copied += 1;
            log::notice(format_args!("{key} copied to repository \"{}\"", to.repository()));
        }
    }
    Ok(copied)
}

/// Keys below a directory that the target lacks, relative to it, sorted.
fn missing(
    source: &Stanza,
    target: &Stanza,
    directory: &dyn Fn(&Stanza) -> String,
) -> Result<Vec<String>> {
    let mut there = Vec::new();
    collect(target.store.as_ref(), &directory(target), "", &mut there)?;
    let there: BTreeSet<String> = there.into_iter().collect();
    let mut here = Vec::new();
    collect(source.store.as_ref(), &directory(source), "", &mut here)?;
    here.retain(|key| !there.contains(key) && key != "README");
    here.sort_unstable();
    Ok(here)
}

fn collect(store: &dyn Store, directory: &str, below: &str, keys: &mut Vec<String>) -> Result<()> {
    for name in store.list(directory)? {
        match name.strip_suffix('/') {
            Some(inner) => {
                let below = format!("{below}{inner}/");
                collect(store, &format!("{directory}/{inner}"), &below, keys)?;
            }
            None => keys.push(format!("{below}{name}")),
        }
    }
    Ok(())
}

/// Copy the bytes of an object.
fn object(source: &dyn Store, key: &str, target: &dyn Store, to: &str) -> Result<Created> {
    let Some(from) = source.open(key)? else {
        return Err(Error::Failed(format!("object {key} vanished while it was copied")));
    };
    let created = target.create(to, &mut |sink| {
        let bytes =
            io::copy(&mut from.reader(), sink).map_err(Error::repository(format!("copy {key}")))?;
        match bytes == from.size() {
            true => Ok(()),
            false => {
                Err(Error::Corrupt(format!("{key} ends after {bytes} of {} bytes", from.size())))
            }
        }
    })?;
    if created == Created::Exists {
        target.settle(to)?;
    }
    Ok(created)
}
