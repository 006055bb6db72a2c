//! Copying from one repository to another what the other lacks.
//!
//! Objects are write-once and say by their names what they are, so a copy that was interrupted goes
//! on where it was. Wherever it is interrupted, nobody is led astray at the other side: a backup
//! exists there only when all it needs does ([`backups`]), and WAL comes in an order in which what
//! is still missing is a hole, and not the end ([`wal`]). Whose the WAL is decides where it goes
//! ([`systems`]). Pins and rules are each repository's own.

mod backups;
mod systems;
mod wal;

use std::io;

use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::{Created, Lock, LockMode, Store};

pub(crate) use wal::file as wal_file;

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
    /// One backup, with the WAL of its own.
    Backup,
    /// WAL only.
    Wal,
    /// WAL only, as far as somebody needs it over there, and only into a stanza that is there:
    /// nobody watches.
    Backlog,
}

/// What one system has in two repositories.
struct Both<'a> {
    source: Stanza,
    target: Stanza,
    /// The other repository.
    to: &'a Context,
    what: What,
}

impl Both<'_> {
    /// Keep expire from what is read; and from the other side backups and expire, which take what
    /// is half copied for left over.
    fn lock(&self, from: &Context) -> Result<Vec<Box<dyn Lock>>> {
        let mut locks = Vec::new();
        if self.what != What::Backlog {
            locks.extend(from.reading(&self.source)?);
        }
        if matches!(self.what, What::Everything | What::Backup) && !self.to.dry_run {
            let key = self.target.key("locks/backup");
            locks.push(self.target.store.lock(&key, LockMode::Exclusive)?);
        }
        Ok(locks)
    }
}

/// Copy what one repository has of the stanza, and the other lacks. What is damaged is not copied;
/// the rest is.
///
/// # Errors
/// [`Error::Mismatch`] when they are of different clusters, or have other content under the same
/// name; [`Error::Locked`] while one is expired or the other takes a backup; [`Error::Repository`]
/// when the other is no repository: a place where one is not mounted looks like an empty one, so
/// only a set-up makes it a repository.
pub(crate) fn copy(from: &Context, to: &Context, what: What) -> Result<Copied> {
    let mut copied = Copied::default();
    let mut damaged = 0;
    let mut outcome = Ok(());
    for both in systems::pairs(from, to, what)? {
        let mut locks = both.lock(from)?;
        let mut wal = wal::Wal::list(&both)?;
        wal.copy()?;
        if what == What::Everything {
            let (backups, refused) = backups::copy(&both, &mut wal, &mut locks)?;
            copied.backups += backups;
            outcome = outcome.and(refused);
        }
        copied.wal += wal.copied;
        damaged += wal.damaged;
    }
    // What nobody can mend has been said, and must not keep a backlog from ending.
    if damaged > 0 && what != What::Backlog {
        return Err(Error::Corrupt(format!(
            "{} not copied, {} copied",
            log::count(damaged, "damaged WAL file"),
            log::count(copied.wal, "WAL file")
        )));
    }
    outcome.map(|()| copied)
}

/// Copy one backup of the present system, and the WAL of its own where the other lacks that.
///
/// # Errors
/// As [`copy`].
pub(crate) fn backup(from: &Context, to: &Context, id: &str) -> Result<()> {
    // The present system is the last.
    let Some(both) = systems::pairs(from, to, What::Backup)?.pop() else { return Ok(()) };
    let mut locks = both.lock(from)?;
    let mut wal = wal::Wal::list(&both)?;
    backups::one(&both, &mut wal, &mut locks, id).map(drop)
}

/// The limit that a copy obeys.
fn usage(what: What) -> Use {
    match what {
        What::Everything | What::Backup | What::Wal => Use::Backup,
        What::Backlog => Use::Archive,
    }
}

/// All keys below a directory, relative to it, sorted.
fn keys(store: &dyn Store, directory: &str) -> Result<Vec<String>> {
    fn collect(
        store: &dyn Store,
        directory: &str,
        below: &str,
        to: &mut Vec<String>,
    ) -> Result<()> {
        for name in store.list(directory)? {
            match name.strip_suffix('/') {
                Some(inner) => {
                    let below = format!("{below}{inner}/");
                    collect(store, &format!("{directory}/{inner}"), &below, to)?;
                }
                None => to.push(format!("{below}{name}")),
            }
        }
        Ok(())
    }
    let mut keys = Vec::new();
    collect(store, directory, "", &mut keys)?;
    keys.sort_unstable();
    Ok(keys)
}

/// Copy the bytes of an object.
fn object(source: &Stanza, target: &Stanza, rest: &str) -> Result<Created> {
    let (key, to) = (source.key(rest), target.key(rest));
    let Some(from) = source.store.open(&key)? else {
        return Err(Error::NotFound(format!("object {key} is missing")));
    };
    let created = target.store.create(&to, &mut |sink| {
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
        target.store.settle(&to)?;
    }
    Ok(created)
}
