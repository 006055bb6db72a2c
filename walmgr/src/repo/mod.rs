//! The repository: where objects live and what is said about them.
//!
//! [`Store`] is the storage, which knows names and bytes and whose one way to write is
//! create-if-absent. [`object`] is the form of a stored WAL file, [`wal`] the archive's rules,
//! [`stanza`] whose archive it is. The layout is in `docs/walmgr.md`.

use std::io::{Read, Seek, Write};
use std::time::Duration;

use crate::error::{Error, Result};

pub(crate) mod azure;
pub(crate) mod gcs;
pub(crate) mod local;
pub(crate) mod mark;
pub(crate) mod object;
pub(crate) mod object_store;
pub(crate) mod s3;
pub(crate) mod sealed;
pub(crate) mod settings;
pub(crate) mod ssh;
pub(crate) mod stanza;
pub(crate) mod wal;

/// Directory of the keys of an encrypted repository.
pub(crate) const KEYS: &str = "walmgr.keys";

/// Directory of parts that are objects of their own. What dead processes left there is nothing to
/// anybody.
pub(crate) const PARTS: &str = "walmgr.parts";

/// Where [`Store::create`] lets its caller write the new object's bytes.
pub(crate) trait Sink: Write + Seek {}
impl<T: Write + Seek> Sink for T {}

/// A stored object opened for reading at any place.
pub(crate) trait Source: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;
    /// Fill the buffer from a place in the object; the end of the object before that is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;
    /// A reader from the beginning.
    fn reader(&self) -> Box<dyn Read + '_>;
}

/// Whether [`Store::create`] made the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// Made, and durable.
    New,
    /// The name was taken; nothing was changed.
    Exists,
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// Together with other readers.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held until it is dropped, or the process is gone; or until it is lost, where its
/// keeper is another host.
pub(crate) trait Lock: Send {
    /// Make sure that it is still held: before something is made known, or removed, that others may
    /// have changed if it is not.
    ///
    /// # Errors
    /// [`Error::Repository`] when it is lost, or nobody knows.
    fn check(&mut self) -> Result<()>;
}

/// What a lock says that is lost.
fn lost(key: &str, why: &str) -> Error {
    Error::repository(format!("lock {key} is lost"))(std::io::Error::other(format!(
        "{why}, so others may have worked here meanwhile; begin again"
    )))
}

/// Writes the bytes of a new object.
pub(crate) type Fill<'a> = dyn FnMut(&mut dyn Sink) -> Result<()> + 'a;

/// An object that is to be created.
pub(crate) struct New<'a> {
    /// Its name.
    pub(crate) key: String,
    /// What writes its bytes.
    pub(crate) fill: Box<Fill<'a>>,
}

/// A place that keeps objects by name (`dir/dir/name`).
///
/// "Absent" ([`None`], an empty list) is only ever said with authority: the store itself was there
/// to ask. Everything else is an [`Error::Repository`].
pub(crate) trait Store: Send + Sync {
    /// Create an object that does not exist yet. On [`Created::New`] its bytes and its name are
    /// durable.
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created>;
    /// True when [`Store::create_all`] costs less than creating one after the other.
    fn shares_syncs(&self) -> bool {
        false
    }
    /// True when reading an object back costs little beside writing it.
    fn reads_cheaply(&self) -> bool {
        false
    }
    /// Create several objects, each as by [`Store::create`]. A store that syncs may let them share
    /// that.
    fn create_all(&self, mut objects: Vec<New<'_>>) -> Vec<Result<Created>> {
        objects.iter_mut().map(|new| self.create(&new.key, new.fill.as_mut())).collect()
    }
    /// Make sure that an object which is there is durable too: its creator may have died before it
    /// could see to that.
    fn settle(&self, key: &str) -> Result<()>;
    /// Open an object.
    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>>;
    /// Names directly below a directory, sorted; directories end in `/`.
    fn list(&self, directory: &str) -> Result<Vec<String>>;
    /// Remove an object; it need not exist.
    ///
    /// # Errors
    /// [`Error::Retained`] while it is locked.
    fn remove(&self, key: &str) -> Result<()>;
    /// Remove several objects, which need not exist, in any order; those that are locked, and stay.
    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        keys.iter().try_for_each(|key| self.remove(key))?;
        Ok(Vec::new())
    }
    /// Until when an object cannot be removed, in words; `None` for one that can.
    fn retained(&self, _key: &str) -> Result<Option<String>> {
        Ok(None)
    }
    /// Rename an object out of the way, to a name that nothing reads.
    fn set_aside(&self, key: &str) -> Result<()>;
    /// Take a lock without waiting.
    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>>;
    /// Remove the temporary files of at least this age that interrupted writers left below a
    /// directory; returns their names.
    fn sweep(&self, directory: &str, age: Duration) -> Result<Vec<String>>;
    /// How large a pack should grow.
    fn pack_size(&self) -> u64 {
        256 << 20
    }
    /// What to call this store in messages.
    fn describe(&self) -> String;
    /// What tells this place from every other, also from one that is called the same.
    fn identity(&self) -> String;
}

/// No small object is longer.
pub(crate) const SMALL: u64 = 64 << 20;

/// Read a small object whole.
///
/// # Errors
/// [`Error::Corrupt`] for one that is not small, whatever it claims to be.
pub(crate) fn read_all(store: &dyn Store, key: &str) -> Result<Option<Vec<u8>>> {
    let Some(source) = store.open(key)? else { return Ok(None) };
    let large = || Error::Corrupt(format!("object {key} has {} bytes", source.size()));
    let size = usize::try_from(source.size()).map_err(|_| large())?;
    if source.size() > SMALL {
        return Err(large());
    }
    let mut bytes = vec![0; size];
    source.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}

/// Refuse a name that does not stay below the repository, whoever made it up.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn check_key(key: &str) -> Result<()> {
    let plain = key.split('/').all(|part| !matches!(part, "" | "." | "..")) && !key.contains('\0');
    if plain { Ok(()) } else { Err(Error::Corrupt(format!("\"{key}\" is no name of an object"))) }
}

/// Create a small object.
pub(crate) fn create_small(store: &dyn Store, key: &str, bytes: &[u8]) -> Result<Created> {
    store.create(key, &mut |sink| {
        sink.write_all(bytes).map_err(Error::repository(format!("write {key}")))
    })
}
