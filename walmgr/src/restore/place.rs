//! The directory that a backup is restored into.
//!
//! Files that somebody may need are removed only when `--delta` or `--force` says so, only from what is recognisably a data directory
//! of the same cluster, and never under a running server.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::backup::info::BackupInfo;
use crate::backup::manifest::{CONFIG, Control, Manifest};
use crate::backup::scan::is_tablespace;
use crate::error::{Error, Result};
use crate::pg::{control, running};

/// Says that a restore is under way, or broke off.
pub(crate) const MARKER: &str = "walmgr.restoring";

/// What a daemon has in its data directory. It goes on when that is restored in place.
const OF_DAEMON: [&str; 3] = ["walmgr.sock", "walmgr.spool", "walmgr.daemon.lock"];

/// What may happen to files that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// There must be none.
    Refuse,
    /// Keep what is the same.
    Delta,
    /// Remove them first.
    Force,
}

/// A place for a backup.
#[derive(Debug)]
pub(crate) struct Place {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where tablespaces go, by oid.
    pub(crate) tablespaces: BTreeMap<String, PathBuf>,
    /// What may happen to files that are there.
    pub(crate) existing: Existing,
    /// How the names begin of what is this cluster's in a tablespace; the rest is not ours to remove.
    pub(crate) own_directory: String,
}

impl Place {
    /// Refuse a place that must not be written to. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Locked`] under a running server, [`Error::Usage`] for directories that are not empty, [`Error::Mismatch`] for another
    /// cluster's.
    pub(crate) fn check(&self, info: &BackupInfo) -> Result<()> {
        if rustix::process::geteuid().is_root() {
            return Err(Error::Usage(
                "as root the files would be root's: run this as the server's user".to_owned(),
            ));
        }
        if let Some(pid) = running::postmaster(&self.data) {
            return Err(Error::Locked(format!(
                "a server runs in {} (pid {pid})",
                self.data.display()
            )));
        }
        for directory in self.tablespaces.values() {
            if self.existing == Existing::Refuse && !is_empty(directory)? {
                return Err(Error::Usage(format!("{} is not empty", directory.display())));
            }
        }
        if is_empty(&self.data)? {
            return Ok(());
        }
        if self.existing == Existing::Refuse {
            return Err(Error::Usage(format!(
                "{} is not empty: --delta keeps what is the same, --force removes everything first",
                self.data.display()
            )));
        }
        let restoring = self.data.join(MARKER).exists();
        if !restoring && !self.data.join("PG_VERSION").exists() {
            return Err(Error::Usage(format!(
                "{} is not a data directory: it is not touched",
                self.data.display()
            )));
        }
        match control::system_identifier(&self.data)? {
            Some(identifier) if identifier.to_string() != info.system_identifier => {
                Err(Error::Mismatch(format!(
                    "{} holds system {identifier}, the backup is of system {}",
                    self.data.display(),
                    info.system_identifier
                )))
            }
            _ => Ok(()),
        }
    }

    /// Make directories and links, and remove what does not belong. From here on the directory cannot be started.
    pub(crate) fn prepare(&self, manifest: &Manifest) -> Result<()> {
        make_private(&self.data)?;
        write_synced(&self.data.join(MARKER), b"")?;
        remove_if_there(&self.data.join(Control::PATH))?;
        sync_directory(&self.data)?;
        if self.existing == Existing::Force {
            empty(&self.data, |name| name != MARKER && !OF_DAEMON.contains(&name))?;
            for directory in self.tablespaces.values().filter(|directory| directory.exists()) {
                empty(directory, |name| name.starts_with(&self.own_directory))?;
            }
        }
        for directory in self.tablespaces.values() {
            make_private(directory)?;
        }
        if self.existing == Existing::Delta {
            self.remove_strangers(manifest)?;
        }
        for (path, mode) in &manifest.directories {
            let place = self.data.join(path);
            if let Some(target) = self.tablespace(path) {
                if fs::read_link(&place).is_ok_and(|link| link == *target) {
                    continue;
                }
                remove_if_there(&place)?;
                symlink(target, &place)
                    .map_err(Error::local(format!("link {}", place.display())))?;
                continue;
            }
            make_directory(&place)?;
            set_mode(&place, *mode)?;
        }
        Ok(())
    }

    /// The place of the tablespace that a path is the link of.
    fn tablespace(&self, path: &str) -> Option<&PathBuf> {
        path.strip_prefix("pg_tblspc/").and_then(|oid| self.tablespaces.get(oid))
    }

    fn remove_strangers(&self, manifest: &Manifest) -> Result<()> {
        let mut kept: BTreeSet<&str> = manifest
            .files
            .iter()
            .map(|file| file.path.as_str())
            .filter(|path| !path.starts_with(CONFIG))
            .collect();
        let directories: BTreeSet<&str> =
            manifest.directories.iter().map(|(path, _)| path.as_str()).collect();
        kept.insert(MARKER);
        kept.extend(OF_DAEMON);
        self.remove_below("", &kept, &directories)
    }

    fn remove_below(
        &self,
        path: &str,
        files: &BTreeSet<&str>,
        directories: &BTreeSet<&str>,
    ) -> Result<()> {
        let directory = self.data.join(path);
        let what = || Error::local(format!("list {}", directory.display()));
        for entry in fs::read_dir(&directory).map_err(what())? {
            let entry = entry.map_err(what())?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if is_tablespace(path) && !name.starts_with(&self.own_directory) {
                continue;
            }
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            if directories.contains(below.as_str()) {
                // What is a link here and a directory in the backup, or leads elsewhere, is made anew.
                let is_link = entry.file_type().map_err(what())?.is_symlink();
                let right = self.tablespace(&below).is_some_and(|target| {
                    fs::read_link(entry.path()).is_ok_and(|link| link == *target)
                });
                if is_link && !right && below != "pg_wal" {
                    remove_if_there(&entry.path())?;
                } else {
                    self.remove_below(&below, files, directories)?;
                }
            } else if !files.contains(below.as_str()) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn is_empty(directory: &Path) -> Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::local(format!("list {}", directory.display()))(error)),
    }
}

fn make_private(directory: &Path) -> Result<()> {
    let what = || Error::local(format!("create {}", directory.display()));
    if !directory.exists() {
        fs::create_dir_all(directory).map_err(what())?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(what())?;
    }
    Ok(())
}

fn make_directory(place: &Path) -> Result<()> {
    let what = || Error::local(format!("create {}", place.display()));
    match fs::metadata(place) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => {
            fs::remove_file(place).map_err(what())?;
            fs::create_dir(place).map_err(what())
        }
        Err(_) => fs::create_dir_all(place).map_err(what()),
    }
}

fn set_mode(place: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
        .map_err(Error::local(format!("set permissions of {}", place.display())))
}

/// Remove what has such a name in a directory. `pg_wal` and tablespaces that are links lose the link only.
fn empty(directory: &Path, goes: impl Fn(&str) -> bool) -> Result<()> {
    let what = || Error::local(format!("list {}", directory.display()));
    for entry in fs::read_dir(directory).map_err(what())? {
        let entry = entry.map_err(what())?;
        if goes(entry.file_name().to_str().unwrap_or_default()) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<()> {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::local(format!("remove {}", path.display())))
}

/// Remove a file or link that need not exist.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::local(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Write a file and sync it.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let what = || Error::local(format!("write {}", path.display()));
    let mut file = fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(what())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(what())
}

/// Sync a directory.
pub(crate) fn sync_directory(path: &Path) -> Result<()> {
    let what = || Error::local(format!("sync {}", path.display()));
    fs::File::open(path).map_err(what())?.sync_all().map_err(what())
}
