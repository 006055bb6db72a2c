//! What a store can do, done in a directory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::create;
use super::directory::{LocalStore, READ, directory_of, leaf, rename_noreplace};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::repo::{Created, Fill, Lock, LockMode, New, Source, Store, check_key, lost};

impl Store for LocalStore {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        check_key(key)?;
        create::create(self, key, fill)
    }

    fn shares_syncs(&self) -> bool {
        true
    }

    fn reads_cheaply(&self) -> bool {
        true
    }

    fn create_all(&self, objects: Vec<New<'_>>) -> Vec<Result<Created>> {
        create::create_all(self, objects)
    }

    fn settle(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let file =
            fs::openat(&self.root, key, READ, Mode::empty()).map_err(self.failed("open", key))?;
        fs::fsync(&file).map_err(self.failed("sync", key))?;
        let parent = self.make_directory(directory_of(key))?;
        fs::fsync(&parent).map_err(self.failed("sync directory of", key))
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>> {
        check_key(key)?;
        match fs::openat(&self.root, key, READ, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                let meta = file.metadata().map_err(Error::repository(format!("open {key}")))?;
                if !meta.is_file() {
                    return Err(Error::Corrupt(format!("object {key} is no regular file")));
                }
                Ok(Some(Box::new(LocalSource { file, size: meta.len(), key: key.to_owned() })))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("open", key)(error)),
        }
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        let Some(fd) = self.directory(directory)? else { return Ok(Vec::new()) };
        let entries = Dir::new(fd).map_err(self.failed("list", directory))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(self.failed("list", directory))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let slash = if entry.file_type() == FileType::Directory { "/" } else { "" };
            names.push(format!("{name}{slash}"));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, key: &str) -> Result<()> {
        check_key(key)?;
        match fs::unlinkat(&self.root, key, AtFlags::empty()) {
            Ok(()) => {
                failpoint::visit("store.removed")
                    .map_err(Error::repository(format!("remove {key}")))?;
                // Not empty is the normal answer; an empty directory says nothing and may stay if
                // this fails.
                let _ = fs::unlinkat(&self.root, directory_of(key), AtFlags::REMOVEDIR);
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", key)(error)),
        }
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        check_key(key)?;
        let (directory, name) = (directory_of(key), leaf(key));
        for number in 0..1000 {
            let aside = format!("{directory}/{name}.damaged{number}");
            match rename_noreplace(&self.root, key, &self.root, &aside) {
                Ok(true) => {
                    let parent = self.make_directory(directory)?;
                    return fs::fsync(&parent).map_err(self.failed("sync directory of", key));
                }
                Ok(false) => {}
                Err(error) => return Err(self.failed("rename", key)(error)),
            }
        }
        Err(self.failed("rename", key)(Errno::EXIST))
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        check_key(key)?;
        let file = match self.open_lock(key) {
            Ok(file) => file,
            // A repository that is only read, a snapshot perhaps, can be restored from all the
            // same.
            Err(error) if mode == LockMode::Shared && is_read_only(&error) => {
                match fs::openat(&self.root, key, READ, Mode::empty()) {
                    Ok(file) => file,
                    Err(Errno::NOENT) => {
                        crate::log::warning(format_args!(
                            "{error}: nothing keeps an expire on another host from removing what is read"
                        ));
                        return Ok(Box::new(NoLock));
                    }
                    Err(_) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        let operation = match mode {
            LockMode::Shared => FlockOperation::NonBlockingLockShared,
            LockMode::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        match fs::flock(&file, operation) {
            Ok(()) => Ok(Box::new(LocalLock { file, key: key.to_owned() })),
            Err(Errno::WOULDBLOCK) => Err(Error::Locked(format!(
                "lock {}/{key} is held by another walmgr",
                self.path.display()
            ))),
            Err(error) => Err(self.failed("lock", key)(error)),
        }
    }

    fn sweep(&self, directory: &str, age: Duration) -> Result<Vec<String>> {
        let Some(fd) = self.directory(directory)? else { return Ok(Vec::new()) };
        let mut swept = Vec::new();
        for entry in Dir::read_from(&fd).map_err(self.failed("list", directory))? {
            let entry = entry.map_err(self.failed("list", directory))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let key = format!("{directory}/{name}");
            if entry.file_type() == FileType::Directory && !name.starts_with('.') {
                swept.extend(self.sweep(&key, age)?);
            } else if name.starts_with('.')
                && name.ends_with(".tmp")
                && self.is_older(&fd, name, age)
            {
                fs::unlinkat(&fd, name, AtFlags::empty()).map_err(self.failed("remove", &key))?;
                swept.push(key);
            }
        }
        Ok(swept)
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn identity(&self) -> String {
        // Not as it is shown: bytes that are no text stay.
        format!("{:?}", self.path)
    }
}

/// True for the refusal of a write that no disk full or broken explains.
fn is_read_only(error: &Error) -> bool {
    matches!(error, Error::Repository { source, .. } if matches!(
        source.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    ))
}

impl LocalStore {
    fn open_lock(&self, key: &str) -> Result<OwnedFd> {
        drop(self.make_directory(directory_of(key))?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        fs::openat(&self.root, key, flags, Mode::from_raw_mode(0o640))
            .map_err(self.failed("open lock", key))
    }

    /// True when a file was last changed that long ago; one that is gone is not.
    fn is_older(&self, directory: &OwnedFd, name: &str, age: Duration) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            let changed = Duration::from_secs(stat.st_mtime.max(0).unsigned_abs());
            changed.saturating_add(age) <= now
        })
    }
}

struct LocalSource {
    file: File,
    size: u64,
    key: String,
}

impl Source for LocalSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => Error::Corrupt(format!("object {} is cut short", self.key)),
            _ => Error::repository(format!("read {}", self.key))(error),
        })
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        Box::new(&self.file)
    }
}

struct LocalLock {
    file: OwnedFd,
    key: String,
}

/// In place of a lock that cannot be taken, where nobody who goes by it can write.
struct NoLock;

impl Lock for NoLock {
    fn check(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Lock for LocalLock {
    fn check(&mut self) -> Result<()> {
        let stat = fs::fstat(&self.file)
            .map_err(Error::repository(format!("look at lock {}", self.key)))?;
        match stat.st_nlink {
            0 => Err(lost(&self.key, "somebody has removed its file")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::error::Error;
    use crate::repo::local::LocalStore;
    use crate::repo::{Created, LockMode, Store, create_small, read_all};

    fn store() -> (tempfile::TempDir, LocalStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::init(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_name_keeps_its_first_content() {
        let (_dir, store) = store();
        assert_eq!(create_small(&store, "a/b/c", b"one").unwrap(), Created::New);
        assert_eq!(create_small(&store, "a/b/c", b"two").unwrap(), Created::Exists);
        assert_eq!(read_all(&store, "a/b/c").unwrap().unwrap(), b"one");
        assert_eq!(store.list("a").unwrap(), ["b/"]);
        assert_eq!(store.sweep("a", Duration::ZERO).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn keys_stay_below_the_repository() {
        let (_dir, store) = store();
        for key in ["../outside", "a/../../outside", "/etc/passwd", "a//b", ".", "", "a/./b"] {
            assert!(store.open(key).is_err(), "{key}");
            assert!(create_small(&store, key, b"x").is_err(), "{key}");
            assert!(store.remove(key).is_err(), "{key}");
            assert!(store.set_aside(key).is_err(), "{key}");
            assert!(store.settle(key).is_err(), "{key}");
            assert!(store.lock(key, LockMode::Shared).is_err(), "{key}");
            assert!(key.is_empty() || store.list(key).is_err(), "{key}");
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let (_dir, store) = store();
        let failed = store.create("a/b", &mut |sink| {
            sink.write_all(b"half").unwrap();
            Err(Error::Failed("cut".to_owned()))
        });
        assert!(failed.is_err());
        assert!(store.open("a/b").unwrap().is_none());
        assert!(store.sweep("a", Duration::ZERO).unwrap().is_empty());
    }

    #[test]
    fn a_directory_without_the_marker_is_no_repository() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(LocalStore::open(dir.path()).unwrap_err().exit_code(), 4);
        std::fs::write(dir.path().join("precious"), "x").unwrap();
        assert_eq!(LocalStore::init(dir.path()).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn an_object_set_aside_frees_its_name() {
        let (_dir, store) = store();
        create_small(&store, "a/b", b"bad").unwrap();
        store.set_aside("a/b").unwrap();
        assert_eq!(create_small(&store, "a/b", b"good").unwrap(), Created::New);
        assert_eq!(store.list("a").unwrap(), ["b", "b.damaged0"]);
    }

    #[test]
    fn a_lock_whose_file_is_gone_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::init(dir.path()).unwrap();
        let mut lock = store.lock("locks/x", LockMode::Exclusive).unwrap();
        lock.check().unwrap();
        std::fs::remove_file(dir.path().join("locks/x")).unwrap();
        // Somebody else has it now.
        let mut other = store.lock("locks/x", LockMode::Exclusive).unwrap();
        assert_eq!(lock.check().unwrap_err().exit_code(), 4);
        other.check().unwrap();
    }

    #[test]
    fn an_exclusive_lock_excludes() {
        let (_dir, store) = store();
        let held = store.lock("locks/x", LockMode::Shared).unwrap();
        drop(store.lock("locks/x", LockMode::Shared).unwrap());
        let refused = store.lock("locks/x", LockMode::Exclusive).err().unwrap();
        assert_eq!(refused.exit_code(), 3);
        drop(held);
        store.lock("locks/x", LockMode::Exclusive).unwrap();
    }
}
