//! Creating objects in a directory: written under a temporary name, synced, renamed without
//! replacing, and the directory synced, in this order. Several at a time share the costly part:
//! once the first is synced the file system's journal has them all, and a directory is synced once
//! for all its new names.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{self, Advice, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{LocalStore, directory_of, leaf, rename_noreplace};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{Created, Fill, New};

/// See [`crate::repo::Store::create`].
pub(super) fn create(store: &LocalStore, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
    let mut one = Unfinished::write(store, key, fill)?;
    one.sync()?;
    one.rename()?;
    let synced = if one.is_named { fs::fsync(&one.parent) } else { Ok(()) };
    one.finish(synced)
}

/// See [`crate::repo::Store::create_all`].
pub(super) fn create_all(store: &LocalStore, mut objects: Vec<New<'_>>) -> Vec<Result<Created>> {
    let mut all: Vec<Result<Unfinished<'_>>> = objects
        .iter_mut()
        .map(|new| Unfinished::write(store, &new.key, new.fill.as_mut()))
        .collect();
    all.iter().flatten().for_each(Unfinished::begin_to_sync);
    for one in &mut all {
        if let Ok(unfinished) = one
            && let Err(error) = unfinished.sync().and_then(|()| unfinished.rename())
        {
            *one = Err(error);
        }
    }
    let mut directories: HashMap<&str, std::result::Result<(), Errno>> = HashMap::new();
    all.into_iter()
        .map(|one| {
            let one = one?;
            if !one.is_named {
                return one.finish(Ok(()));
            }
            // Not again for each: after a failure the kernel may say that all is well.
            let synced =
                directories.entry(directory_of(one.key)).or_insert_with(|| fs::fsync(&one.parent));
            one.finish(*synced)
        })
        .collect()
}

/// An object on its way. Dropped without a name, it takes its temporary file with it.
struct Unfinished<'a> {
    store: &'a LocalStore,
    key: &'a str,
    parent: OwnedFd,
    temporary: String,
    file: File,
    is_named: bool,
}

impl<'a> Unfinished<'a> {
    fn write(store: &'a LocalStore, key: &'a str, fill: &mut Fill<'_>) -> Result<Self> {
        let parent = store.make_directory(directory_of(key))?;
        let (temporary, file) = temporary(store, &parent, key)?;
        let mut one = Self { store, key, parent, temporary, file, is_named: false };
        one.step("store.opened")?;
        fill(&mut one.file)?;
        one.step("store.written")?;
        one.file.flush().map_err(Error::repository(format!("write {key}")))?;
        Ok(one)
    }

    /// Let the kernel begin to write what [`Self::sync`] will wait for. Advice: a failure costs
    /// nothing but time.
    fn begin_to_sync(&self) {
        let _ = fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::repository(format!("sync {}", self.key)))?;
        self.step("store.synced")
    }

    fn rename(&mut self) -> Result<()> {
        let name = leaf(self.key);
        self.is_named = rename_noreplace(&self.parent, &self.temporary, &self.parent, name)
            .map_err(self.store.failed("rename to", self.key))?;
        if self.is_named { self.step("store.renamed") } else { Ok(()) }
    }

    /// The outcome, when its directory was synced after all renames.
    fn finish(self, synced: std::result::Result<(), Errno>) -> Result<Created> {
        if !self.is_named {
            return Ok(Created::Exists);
        }
        synced.map_err(self.store.failed("sync directory of", self.key))?;
        self.step("store.durable")?;
        Ok(Created::New)
    }

    fn step(&self, name: &str) -> Result<()> {
        failpoint::visit(name).map_err(Error::repository(format!("write {}", self.key)))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_named {
            // Best effort: there is another error to report, and `sweep` finds what stays.
            let _ = fs::unlinkat(&self.parent, &self.temporary, AtFlags::empty());
        }
    }
}

/// Create a temporary file that no other process, on this host or another, writes to.
fn temporary(store: &LocalStore, parent: &OwnedFd, key: &str) -> Result<(String, File)> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    loop {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{}.{}.{serial}.tmp", leaf(key), std::process::id());
        match fs::openat(parent, &name, flags, Mode::from_raw_mode(0o640)) {
            Ok(fd) => return Ok((name, File::from(fd))),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(store.failed("create", key)(error)),
        }
    }
}
