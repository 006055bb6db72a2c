//! An encrypted repository: a [`Store`] over a store, which sees sealed bytes and plain names.
//!
//! [`master`] is the repository's key, [`slot`] that key wrapped for one key file or passphrase,
//! [`ring`] the slots, [`secret`] where key files and passphrases come from, [`stream`] the form of
//! an object. `docs/walmgr.md` describes all of it so that it can be read without walmgr.

mod master;
mod remembered;
pub(crate) mod ring;
pub(crate) mod rotate;
pub(crate) mod secret;
pub(crate) mod settings;
pub(crate) mod slot;
mod stream;

use std::time::Duration;

use master::Master;
use settings::Encryption;
pub(crate) use stream::MAGIC;
use stream::{SealedSink, SealedSource};

use crate::error::{Error, Result};
use crate::repo::{Created, Fill, Lock, LockMode, New, Sink, Source, Store};

/// A store whose objects are encrypted.
struct Sealed {
    store: Box<dyn Store>,
    master: Master,
}

/// Open a repository that is as encrypted as the settings say.
///
/// # Errors
/// [`Error::Key`] when it is not, or opens to another key.
pub(crate) fn open(store: Box<dyn Store>, settings: Option<&Encryption>) -> Result<Box<dyn Store>> {
    // Without a key nothing needs to be asked: the stanza's file, which everybody reads first, says
    // that it is sealed.
    let Some(settings) = settings else { return Ok(store) };
    let get = || Ok(ring::open(store.as_ref(), settings)?.0);
    let master = remembered::master(&store.identity(), settings, get)?;
    Ok(Box::new(Sealed { store, master }))
}

/// Make a new repository encrypted if the settings say so, or open the one that is there.
///
/// # Errors
/// As [`open`].
pub(crate) fn init(store: Box<dyn Store>, settings: Option<&Encryption>) -> Result<Box<dyn Store>> {
    let Some(settings) = settings else {
        return match ring::repository(store.as_ref())? {
            None => Ok(store),
            Some(id) => Err(encrypted(&store.describe(), &id)),
        };
    };
    let master = ring::init(store.as_ref(), settings)?;
    Ok(Box::new(Sealed { store, master }))
}

/// What to say to who has no key.
fn encrypted(place: &str, id: &str) -> Error {
    Error::Key(format!(
        "repository {id} in {place} is encrypted, and the settings have no key for it: set \
         repository.encryption (walmgr key list, where there is one, shows the keys it has)"
    ))
}

/// What to say to who reads a sealed object as it is.
pub(crate) fn is_sealed(place: &str, bytes: &[u8]) -> Result<()> {
    match bytes.get(8..16) {
        Some(id) if bytes.starts_with(MAGIC) => Err(encrypted(place, &master::hex(id))),
        _ => Ok(()),
    }
}

/// Let somebody write an object, and seal it.
fn seal(master: &Master, key: &str, fill: &mut Fill<'_>, sink: &mut dyn Sink) -> Result<()> {
    let mut sealed = SealedSink::new(sink, master, key)?;
    fill(&mut sealed)?;
    sealed.finish().map_err(Error::repository(format!("write {key}")))
}

impl Store for Sealed {
    fn create(&self, key: &str, fill: &mut Fill<'_>) -> Result<Created> {
        self.store.create(key, &mut |sink| seal(&self.master, key, fill, sink))
    }

    fn shares_syncs(&self) -> bool {
        self.store.shares_syncs()
    }

    fn reads_cheaply(&self) -> bool {
        self.store.reads_cheaply()
    }

    fn create_all(&self, objects: Vec<New<'_>>) -> Vec<Result<Created>> {
        let sealed = objects.into_iter().map(|New { key, mut fill }| {
            let name = key.clone();
            let fill =
                Box::new(move |sink: &mut dyn Sink| seal(&self.master, &name, fill.as_mut(), sink));
            New { key, fill }
        });
        self.store.create_all(sealed.collect())
    }

    fn settle(&self, key: &str) -> Result<()> {
        self.store.settle(key)
    }

    fn open(&self, key: &str) -> Result<Option<Box<dyn Source>>> {
        let Some(source) = self.store.open(key)? else { return Ok(None) };
        Ok(Some(Box::new(SealedSource::new(source, self.master.clone(), key))))
    }

    fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.store.list(directory)
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.store.remove(key)
    }

    fn remove_all(&self, keys: &[String]) -> Result<Vec<String>> {
        self.store.remove_all(keys)
    }

    fn retained(&self, key: &str) -> Result<Option<String>> {
        self.store.retained(key)
    }

    fn set_aside(&self, key: &str) -> Result<()> {
        self.store.set_aside(key)
    }

    fn lock(&self, key: &str, mode: LockMode) -> Result<Box<dyn Lock>> {
        self.store.lock(key, mode)
    }

    fn sweep(&self, directory: &str, age: Duration) -> Result<Vec<String>> {
        self.store.sweep(directory, age)
    }

    fn pack_size(&self) -> u64 {
        self.store.pack_size()
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    fn identity(&self) -> String {
        self.store.identity()
    }
}
