//! Storing WAL files: a name stands for one content, for ever.

use std::fs::File;
use std::io::{self, Seek};

use super::{check_file, key, limit};
use crate::error::{Error, Result};
use crate::plain_file;
use crate::repo::object::{self, Codec, Hash};
use crate::repo::stanza::Stanza;
use crate::repo::{Created, LockMode, New, Sink};
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// What became of a pushed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Stored now.
    Stored,
    /// Was there, with the same content.
    AlreadyThere,
    /// A damaged object of this name was set aside, and the file stored.
    Replaced,
}

/// Store a WAL file. When this returns `Ok`, the file is durable in the repository under its name,
/// with this content.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Mismatch`] for a file that does not belong under this name in
/// this stanza, [`Error::Mismatch`] for a name that stands for other content; then nothing was
/// changed.
pub(crate) fn push(stanza: &Stanza, file: &WalFile, codec: Codec) -> Result<Pushed> {
    let mut file = Incoming::open(stanza, file)?;
    let created = match file.is_known {
        true => Created::Exists,
        false => stanza.store.create(&file.key.clone(), &mut |sink| file.write(sink, codec))?,
    };
    file.settle(stanza, created, codec)
}

/// Store several WAL files, each as by [`push`].
pub(crate) fn push_all(stanza: &Stanza, files: &[WalFile], codec: Codec) -> Vec<Result<Pushed>> {
    let mut files: Vec<Result<Incoming<'_>>> =
        files.iter().map(|file| Incoming::open(stanza, file)).collect();
    let objects = files
        .iter_mut()
        .flatten()
        .filter(|file| !file.is_known)
        .map(|file| New { key: file.key.clone(), fill: Box::new(|sink| file.write(sink, codec)) });
    let mut created = stanza.store.create_all(objects.collect()).into_iter();
    files
        .into_iter()
        .map(|file| {
            let file = file?;
            let created = if file.is_known { None } else { created.next() };
            file.settle(stanza, created.transpose()?.unwrap_or(Created::Exists), codec)
        })
        .collect()
}

/// A file that belongs under its name in the stanza.
struct Incoming<'a> {
    from: &'a WalFile,
    file: File,
    length: u64,
    key: String,
    /// Of an unfinished segment, whose key depends on it.
    hash: Option<Hash>,
    /// An object of this key is there: no need to compress and sync what most likely is the same.
    is_known: bool,
}

impl<'a> Incoming<'a> {
    fn open(stanza: &Stanza, from: &'a WalFile) -> Result<Self> {
        let WalFile { name, path } = from;
        let what = || Error::local(format!("read {}", path.display()));
        let (mut file, meta) = plain_file::open(path).map_err(what())?;
        let length = meta.len();
        check_file(stanza, name, &mut file, length)?;
        let (hash, key) = match name {
            WalName::Partial(_) => {
                let hash = hash_file(&mut file).map_err(what())?;
                (Some(hash), partial_key(stanza, name, hash))
            }
            _ => (None, key(stanza, name)),
        };
        let is_known = stanza.store.open(&key)?.is_some();
        Ok(Self { from, file, length, key, hash, is_known })
    }

    fn write(&mut self, sink: &mut dyn Sink, codec: Codec) -> Result<()> {
        self.file.rewind().map_err(Error::local(format!("read {}", self.from.path.display())))?;
        let meta = object::write(sink, &mut self.file, self.length, codec)?;
        if self.hash.is_some_and(|hash| hash != meta.hash) {
            return Err(Error::Corrupt(format!("{} changed while it was read", self.from.name)));
        }
        Ok(())
    }

    /// What became of it, seeing to an object that was there before.
    fn settle(mut self, stanza: &Stanza, created: Created, codec: Codec) -> Result<Pushed> {
        if created == Created::New {
            return Ok(Pushed::Stored);
        }
        let here = match self.hash {
            Some(hash) => hash,
            None => hash_file(&mut self.file)
                .map_err(Error::local(format!("read {}", self.from.path.display())))?,
        };
        self.hash = Some(here);
        match existing_hash(stanza, &self.from.name, &self.key) {
            Ok(there) if there == here => {
                stanza.store.settle(&self.key)?;
                Ok(Pushed::AlreadyThere)
            }
            Ok(there) => Err(Error::Mismatch(format!(
                "{} is in the repository with other content: there {there}, here {here}",
                self.from.name
            ))),
            Err(Error::Corrupt(why)) => self.replace(stanza, here, &why, codec),
            Err(error) => Err(error),
        }
    }

    /// The name stands for no content at all. One at a time, and looking again, so that nobody sets
    /// aside a good object.
    fn replace(mut self, stanza: &Stanza, here: Hash, why: &str, codec: Codec) -> Result<Pushed> {
        let key = self.key.clone();
        let _lock = stanza.store.lock(&stanza.key("locks/repair"), LockMode::Exclusive)?;
        match existing_hash(stanza, &self.from.name, &key) {
            Err(Error::Corrupt(_)) => {
                crate::log::warning(format_args!("{why}; it is set aside and stored anew"));
                stanza.store.set_aside(&key)?;
            }
            _ => return Err(Error::Locked(format!("{key} is being repaired"))),
        }
        if stanza.store.create(&key, &mut |sink| self.write(sink, codec))? == Created::Exists {
            // Somebody else's, who may not have synced it yet.
            stanza.store.settle(&key)?;
        }
        match existing_hash(stanza, &self.from.name, &key)? {
            stored if stored == here => Ok(Pushed::Replaced),
            _ => Err(Error::Mismatch(format!(
                "{} was stored by another server meanwhile",
                self.from.name
            ))),
        }
    }
}

/// The unfinished last segment of a timeline may be archived by more than one server, with
/// different content: each is kept.
fn partial_key(stanza: &Stanza, name: &WalName, hash: Hash) -> String {
    let hash = hash.to_string();
    format!("{}.{}", key(stanza, name), hash.get(..16).unwrap_or(&hash))
}

fn existing_hash(stanza: &Stanza, name: &WalName, key: &str) -> Result<Hash> {
    let source = stanza
        .store
        .open(key)?
        .ok_or_else(|| Error::Failed(format!("object {key} vanished while it was compared")))?;
    let limit = limit(stanza, name);
    Ok(object::read(source.as_ref(), key, limit, &mut io::sink())?.hash)
}

fn hash_file(file: &mut File) -> io::Result<Hash> {
    file.rewind()?;
    let mut hash = blake3::Hasher::new();
    hash.update_reader(&*file)?;
    file.rewind()?;
    Ok(Hash(hash.finalize().into()))
}
