//! The directory of a repository: the one open descriptor below which everything happens.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::repo::{Store, check_key};

/// File that makes a directory a repository.
const MARKER: &str = "walmgr.repo";
const MARKER_TEXT: &str = "{\"format\":1}\n";
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Without waiting for the other end of what turns out to be a pipe.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A directory with the marker file in it.
#[derive(Debug)]
pub(crate) struct LocalStore {
    pub(super) path: PathBuf,
    pub(super) root: OwnedFd,
}

impl LocalStore {
    /// Open a repository.
    ///
    /// # Errors
    /// [`Error::Repository`] when the directory or the marker is not there: not created yet, or not
    /// mounted.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let what = || format!("open {}", path.display());
        let root = fs::open(path, DIRECTORY, Mode::empty()).map_err(Error::repository(what()))?;
        let marker = fs::openat(&root, MARKER, READ, Mode::empty()).map_err(Error::repository(
            format!("{} is not a repository, or not mounted: {MARKER}", path.display()),
        ))?;
        let mut text = String::new();
        File::from(marker)
            .take(100)
            .read_to_string(&mut text)
            .map_err(Error::repository(what()))?;
        if text != MARKER_TEXT {
            return Err(Error::Usage(format!(
                "{} has a format that this walmgr does not know",
                path.display()
            )));
        }
        Ok(Self { path: path.to_owned(), root })
    }

    /// Make a directory a repository, or open the one that is there.
    ///
    /// # Errors
    /// [`Error::Usage`] for a directory that has other things in it.
    pub(crate) fn init(path: &Path) -> Result<Self> {
        let what = format!("create {}", path.display());
        std::fs::create_dir_all(path).map_err(Error::repository(what.clone()))?;
        let root = fs::open(path, DIRECTORY, Mode::empty()).map_err(Error::repository(what))?;
        let store = Self { path: path.to_owned(), root };
        let names = store.list("")?;
        if !names.iter().any(|name| name == MARKER) {
            if let Some(name) = names.first() {
                return Err(Error::Usage(format!(
                    "{} is not empty (it has \"{name}\") and not a repository",
                    path.display()
                )));
            }
            crate::repo::create_small(&store, MARKER, MARKER_TEXT.as_bytes())?;
            sync_parent(path)?;
        }
        Self::open(path)
    }

    pub(super) fn failed(&self, doing: &str, key: &str) -> impl FnOnce(Errno) -> Error {
        Error::repository(format!("{doing} {}/{key}", self.path.display()))
    }

    /// Open a directory; `None` when it does not exist.
    pub(super) fn directory(&self, key: &str) -> Result<Option<OwnedFd>> {
        if !key.is_empty() {
            check_key(key)?;
        }
        let key_or_root = if key.is_empty() { "." } else { key };
        match fs::openat(&self.root, key_or_root, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("open", key)(error)),
        }
    }

    /// Open a directory, creating it durably level by level.
    pub(super) fn make_directory(&self, key: &str) -> Result<OwnedFd> {
        if let Some(fd) = self.directory(key)? {
            return Ok(fd);
        }
        let (above, name) = key.rsplit_once('/').unwrap_or(("", key));
        let parent = self.make_directory(above)?;
        match fs::mkdirat(&parent, name, Mode::from_raw_mode(0o750)) {
            // Also when somebody else was first: they may not have synced it yet.
            Ok(()) | Err(Errno::EXIST) => fs::fsync(&parent).map_err(self.failed("sync", above))?,
            Err(error) => return Err(self.failed("create", key)(error)),
        }
        self.directory(key)?.ok_or_else(|| self.failed("open", key)(Errno::NOENT))
    }
}

/// Rename unless the new name is taken; true when it was free.
pub(super) fn rename_noreplace(
    from_directory: &OwnedFd,
    from: &str,
    to_directory: &OwnedFd,
    to: &str,
) -> std::result::Result<bool, Errno> {
    match fs::renameat_with(from_directory, from, to_directory, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // NFS and others: a hard link refuses to replace as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match fs::linkat(from_directory, from, to_directory, to, AtFlags::empty()) {
                Ok(()) => fs::unlinkat(from_directory, from, AtFlags::empty()).map(|()| true),
                Err(Errno::EXIST) => Ok(false),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

pub(super) fn directory_of(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(directory, _)| directory)
}

pub(super) fn leaf(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(_, leaf)| leaf)
}

fn sync_parent(path: &Path) -> Result<()> {
    let absolute = std::path::absolute(path).map_err(Error::repository("find the repository"))?;
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    let what = || format!("sync {}", parent.display());
    let fd = fs::open(parent, DIRECTORY, Mode::empty()).map_err(Error::repository(what()))?;
    fs::fsync(&fd).map_err(Error::repository(what()))
}
