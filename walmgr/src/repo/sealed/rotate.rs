//! Changing the keys of a repository. The repository's own key stays, so no object is written
//! again; and in each step the key that the settings name opens it.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::ring;
use super::secret::{self, Secret};
use super::settings::{Encryption, From};
use super::slot::Slot;
use crate::durable::sync_directory;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{Lock, Store};

/// A key that somebody else is to have.
pub(crate) enum NewKey<'a> {
    /// A key file.
    File(&'a Path),
    /// A file with a passphrase.
    Passphrase(&'a Path),
}

/// Add a key; `false` if it was there.
pub(crate) fn add(
    store: &dyn Store,
    settings: &Encryption,
    new: &NewKey<'_>,
    label: &str,
) -> Result<(Slot, bool)> {
    let secret = match new {
        NewKey::File(path) => Secret::key_file(path)?,
        NewKey::Passphrase(path) => Secret::passphrase_file(path)?,
    };
    let _lock = locked(store, settings)?;
    let (master, own) = ring::open(store, settings)?;
    if let Some((_, slot)) = ring::find(store, &own.repository, &secret)? {
        return Ok((slot, false));
    }
    Ok((ring::add(store, &master, &secret, label, None)?.1, true))
}

/// Remove a key; `false` if it was not there.
///
/// # Errors
/// [`Error::Usage`] for the key that the settings name: what is left opens to somebody.
pub(crate) fn remove(store: &dyn Store, settings: &Encryption, id: &str) -> Result<bool> {
    // As `key list` shows it, also where that is no name that walmgr gives.
    if id.contains('/') || id == "repository" {
        return Err(Error::Usage(format!("\"{id}\" is no name of a key (walmgr key list)")));
    }
    let _lock = locked(store, settings)?;
    let (_, own) = ring::open(store, settings)?;
    if own.id == id {
        return Err(Error::Usage(format!(
            "key {id} is the one that repository.encryption names: add another, name that one, and \
             then remove this"
        )));
    }
    ring::remove(store, id)
}

/// What a rotation did.
pub(crate) struct Rotated {
    /// The key that was.
    pub(crate) old: String,
    /// The key that is.
    pub(crate) new: String,
    /// Where the key that was is kept.
    pub(crate) kept: PathBuf,
    /// One that an earlier rotation replaced, and that was added again.
    pub(crate) stays: Option<String>,
}

/// Who else may need the key file.
pub(crate) struct Others<'a> {
    /// The repository whose key is rotated.
    pub(crate) own: &'a str,
    /// The others, and what opens each.
    pub(crate) others: Vec<(&'a str, &'a Encryption)>,
}

impl Others<'_> {
    /// Refuse a file that another repository is opened with: it would be lost with the old key.
    fn check(&self, path: &Path) -> Result<()> {
        let uses = |settings: &Encryption| match settings.from() {
            Ok(From::KeyFile(other)) => is_same_file(path, other),
            _ => false,
        };
        match self.others.iter().find(|(_, settings)| uses(settings)) {
            None => Ok(()),
            Some((other, _)) => Err(Error::Usage(format!(
                "{} opens repository \"{other}\" too, which would be lost with it: walmgr --repo \
                 {} key add --key-file NEWFILE, name that file for this repository, and then \
                 walmgr key remove",
                path.display(),
                self.own
            ))),
        }
    }
}

/// True also where one of two names is a link.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let place = |path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    match (place(one), place(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Put a new key in the place of the key file that the settings name, which is kept beside it.
/// Killed anywhere, it is completed by the next call. Where the name is a link, the file that it
/// leads to is replaced.
///
/// # Errors
/// [`Error::Usage`] when somebody else may need the key file, or the one that was kept.
pub(crate) fn rotate(
    store: &dyn Store,
    settings: &Encryption,
    others: &Others<'_>,
) -> Result<Rotated> {
    let From::KeyFile(path) = settings.from()? else {
        return Err(Error::Usage(
            "only a key_file is rotated in its place; for commands and passphrases: walmgr key add, \
             change what is named, then walmgr key remove"
                .to_owned(),
        ));
    };
    others.check(path)?;
    let _lock = locked(store, settings)?;
    let (master, own) = ring::open(store, settings)?;
    let path = &path.canonicalize().map_err(Error::local(format!("find {}", path.display())))?;
    let mut stays = None;
    if let Some(old) = replaced(store, &own)? {
        // One that is younger than the key which replaced it was added on purpose. Else it is what
        // an interrupted rotation has left.
        if old.created >= own.created {
            stays = Some(old.id);
        } else if ring::remove(store, &old.id)? {
            // The key file is the new one already.
            return Ok(Rotated { old: old.id, new: own.id, kept: beside(path, "old"), stays });
        }
    }
    let step = |name| failpoint::visit(name).map_err(Error::local(format!("rotate to {name}")));
    let kept = keep(path, &own.id)?;
    step("key.kept")?;
    let next = beside(path, "new");
    if !next.exists() {
        secret::generate(&next)?;
    }
    own_alike(path, &next)?;
    step("key.generated")?;
    let secret = Secret::key_file(&next)?;
    let new = match ring::find(store, &own.repository, &secret)? {
        Some((_, slot)) => slot,
        None => ring::add(store, &master, &secret, &own.label, Some(own.id.clone()))?.1,
    };
    step("key.added")?;
    let what = Error::local(format!("rename {} to {}", next.display(), path.display()));
    std::fs::rename(&next, path).map_err(what)?;
    sync_beside(path)?;
    step("key.renamed")?;
    ring::remove(store, &own.id)?;
    step("key.removed")?;
    Ok(Rotated { old: own.id, new: new.id, kept, stays })
}

/// The key that a key has replaced, if it opens the repository still or again.
fn replaced(store: &dyn Store, own: &Slot) -> Result<Option<Slot>> {
    let keys = ring::keys(store, &own.repository)?;
    Ok(keys.slots.into_iter().find(|slot| Some(&slot.id) == own.replaces.as_ref()))
}

/// Keep the key file under another name too. Other configurations may name it, here or wherever it
/// was copied, and nobody but the operator knows when the last of them has another.
fn keep(path: &Path, id: &str) -> Result<PathBuf> {
    let kept = beside(path, "old");
    if kept.symlink_metadata().is_ok() {
        return match Secret::key_file(&kept)?.id() {
            // By a call that was interrupted.
            Some(other) if other == id => Ok(kept),
            other => Err(Error::Usage(format!(
                "{} has key {} of an earlier rotation: remove it first, or move it if something may \
                 still need it",
                kept.display(),
                other.unwrap_or_default()
            ))),
        };
    }
    let what = Error::local(format!("keep {} as {}", path.display(), kept.display()));
    std::fs::hard_link(path, &kept).map_err(what)?;
    sync_beside(path)?;
    Ok(kept)
}

/// Keep others from changing keys. Who has no key writes nothing, not even a lock.
fn locked(store: &dyn Store, settings: &Encryption) -> Result<Box<dyn Lock>> {
    ring::open(store, settings)?;
    ring::lock(store)
}

/// The next key waits for its turn as `new`, the one before stays as `old`.
fn beside(path: &Path, which: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(which);
    name.into()
}

/// Make names beside a file durable.
fn sync_beside(path: &Path) -> Result<()> {
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(Error::local(format!("find {}", path.display())))?;
    sync_directory(absolute.parent().unwrap_or(Path::new("/")))
}

/// Give a file to the owner of another: root may rotate what postgres reads.
fn own_alike(model: &Path, path: &Path) -> Result<()> {
    let what = || Error::local(format!("give {} its owner", path.display()));
    let (has, wanted) =
        (std::fs::metadata(path).map_err(what())?, std::fs::metadata(model).map_err(what())?);
    if (has.uid(), has.gid()) == (wanted.uid(), wanted.gid()) {
        return Ok(());
    }
    chown(path, Some(wanted.uid()), Some(wanted.gid())).map_err(what())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::{Encryption, NewKey, Others, add, rotate};
    use crate::repo::local::LocalStore;
    use crate::repo::sealed::{ring, secret};

    fn settings(key_file: &Path) -> Encryption {
        Encryption {
            key_file: Some(key_file.to_owned()),
            key_command: None,
            passphrase_file: None,
            passphrase_command: None,
            command_timeout: Duration::from_secs(30),
        }
    }

    const ALONE: Others<'_> = Others { own: "main", others: Vec::new() };

    fn ids(store: &LocalStore) -> Vec<String> {
        let repository = ring::repository(store).unwrap().unwrap();
        ring::keys(store, &repository).unwrap().slots.into_iter().map(|slot| slot.id).collect()
    }

    #[test]
    fn a_key_that_was_added_again_on_purpose_outlives_the_next_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::init(&directory.path().join("repository")).unwrap();
        let key = directory.path().join("key");
        secret::generate(&key).unwrap();
        let settings = settings(&key);
        ring::init(&store, &settings).unwrap();
        let first = rotate(&store, &settings, &ALONE).unwrap();
        assert_eq!(ids(&store), std::slice::from_ref(&first.new));
        let safe = directory.path().join("safe");
        std::fs::rename(&first.kept, &safe).unwrap();
        add(&store, &settings, &NewKey::File(&safe), "the safe").unwrap();
        let second = rotate(&store, &settings, &ALONE).unwrap();
        assert_eq!((&second.old, ids(&store).len()), (&first.new, 2));
        assert!(ids(&store).contains(&first.old) && ids(&store).contains(&second.new));
        assert_eq!((first.stays, second.stays), (None, Some(first.old)));
    }

    #[test]
    fn a_link_to_the_key_file_stays_one() {
        let directory = tempfile::tempdir().unwrap();
        let store = LocalStore::init(&directory.path().join("repository")).unwrap();
        let real = directory.path().join("mounted");
        std::fs::create_dir(&real).unwrap();
        let (real, link) = (real.join("key"), directory.path().join("key"));
        secret::generate(&real).unwrap();
        std::os::unix::fs::symlink("mounted/key", &link).unwrap();
        let settings = settings(&link);
        ring::init(&store, &settings).unwrap();
        let before = std::fs::read(&real).unwrap();
        let rotated = rotate(&store, &settings, &ALONE).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_ne!(std::fs::read(&real).unwrap(), before);
        assert_eq!(std::fs::read(&rotated.kept).unwrap(), before);
        assert_eq!(rotated.kept.parent(), real.canonicalize().unwrap().parent());
        ring::open(&store, &settings).unwrap();
        assert_eq!(ids(&store), [rotated.new]);
    }
}
