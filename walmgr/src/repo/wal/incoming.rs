//! Storing WAL files: a name stands for one content, for ever.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek};
use std::slice;

use super::{check_file, key, limit};
use crate::error::{Error, Result};
use crate::plain_file;
use crate::repo::object::{self, Codec, Hash, Written};
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

/// How files are stored.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// Compression.
    pub(crate) codec: Codec,
    /// A repository that has just taken the same files.
    pub(crate) like: Option<&'a Like<'a>>,
}

impl<'a> How<'a> {
    /// What the other one has made of a file.
    fn of(self, file: &WalFile) -> Option<(&'a Stanza, &'a Written)> {
        self.like.and_then(|like| Some((like.stanza, like.written.get(file)?)))
    }
}

/// What another repository has just made of files: it is stored as it is where that is the form,
/// which spares compressing it.
pub(crate) struct Like<'a> {
    /// The other one's.
    pub(crate) stanza: &'a Stanza,
    /// Its new objects.
    pub(crate) written: &'a HashMap<WalFile, Written>,
}

/// A file that is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    /// What became of it.
    pub(crate) pushed: Pushed,
    /// The object, if it was made now.
    pub(crate) written: Option<Written>,
}

/// Store a WAL file. When this returns `Ok`, the file is durable in the repository under its name,
/// with this content.
///
/// # Errors
/// [`Error::Corrupt`] or [`Error::Mismatch`] for a file that does not belong under this name in
/// this stanza, [`Error::Mismatch`] for a name that stands for other content; then nothing was
/// changed.
pub(crate) fn push(stanza: &Stanza, file: &WalFile, how: How<'_>) -> Result<Done> {
    let mut outcomes = push_all(stanza, slice::from_ref(file), how);
    outcomes.pop().expect("each file has its outcome")
}

/// Store several WAL files, each as by [`push`].
pub(crate) fn push_all(stanza: &Stanza, files: &[WalFile], how: How<'_>) -> Vec<Result<Done>> {
    let mut files: Vec<Result<Incoming<'_>>> =
        files.iter().map(|file| Incoming::open(stanza, file, how)).collect();
    let objects = files
        .iter_mut()
        .flatten()
        .filter(|file| !file.is_known)
        .map(|file| New { key: file.key.clone(), fill: Box::new(|sink| file.write(sink, how)) });
    let mut created = stanza.store.create_all(objects.collect()).into_iter();
    files
        .into_iter()
        .map(|file| {
            let file = file?;
            let created = if file.is_known { None } else { created.next() };
            file.settle(stanza, created.unwrap_or(Ok(Created::Exists)), how)
        })
        .collect()
}

/// A file that belongs under its name in the stanza.
struct Incoming<'a> {
    from: &'a WalFile,
    file: File,
    length: u64,
    key: String,
    /// That of its content, where it is known or, as of an unfinished segment, part of the key.
    hash: Option<Hash>,
    /// An object of this key is there: no need to compress and sync what most likely is the same.
    is_known: bool,
    /// The object that was written last.
    written: Option<Written>,
}

impl<'a> Incoming<'a> {
    fn open(stanza: &Stanza, from: &'a WalFile, how: How<'_>) -> Result<Self> {
        let WalFile { name, path } = from;
        let what = || Error::local(format!("read {}", path.display()));
        let (mut file, meta) = plain_file::open(path).map_err(what())?;
        let length = meta.len();
        check_file(stanza, name, &mut file, length)?;
        // What another has taken must not be something else here.
        let taken = how.of(from).map(|(_, written)| written.meta.hash);
        let (hash, key) = match name {
            WalName::Partial(_) => {
                let read = || hash_file(&mut file).map_err(what());
                let hash = taken.map_or_else(read, Ok)?;
                (Some(hash), partial_key(stanza, name, hash))
            }
            _ => (taken, key(stanza, name)),
        };
        let is_known = stanza.store.open(&key)?.is_some();
        Ok(Self { from, file, length, key, hash, is_known, written: None })
    }

    fn write(&mut self, sink: &mut dyn Sink, how: How<'_>) -> Result<()> {
        let is_form = |written: &Written| written.meta.codec == how.codec;
        if let Some((other, written)) = how.of(self.from).filter(|(_, written)| is_form(written)) {
            return self.write_again(sink, other, written);
        }
        self.file.rewind().map_err(Error::local(format!("read {}", self.from.path.display())))?;
        let written = object::write(sink, &mut self.file, self.length, how.codec)?;
        self.written = Some(written);
        self.check_hash(&written)
    }

    /// Write what another repository has just made of it.
    fn write_again(&self, sink: &mut dyn Sink, other: &Stanza, written: &Written) -> Result<()> {
        let key = match &self.from.name {
            name @ WalName::Partial(_) => partial_key(other, name, written.meta.hash),
            name => key(other, name),
        };
        let source = other.store.open(&key)?;
        let source = source.ok_or_else(|| Error::NotFound(format!("object {key} is gone")))?;
        object::write_again(sink, source.as_ref(), &key, written)
    }

    fn check_hash(&self, written: &Written) -> Result<()> {
        match self.hash.is_none_or(|hash| hash == written.meta.hash) {
            true => Ok(()),
            false => Err(Error::Corrupt(format!("{} changed while it was read", self.from.name))),
        }
    }

    /// What became of it, seeing to an object that was there before.
    fn settle(mut self, stanza: &Stanza, made: Result<Created>, how: How<'_>) -> Result<Done> {
        let created = match (made, how.of(self.from)) {
            (Err(error), Some(_)) => {
                crate::log::debug(format_args!("{error}; {} is written anew", self.from.name));
                let how = How { like: None, ..how };
                stanza.store.create(&self.key.clone(), &mut |sink| self.write(sink, how))?
            }
            (made, _) => made?,
        };
        if created == Created::New {
            return Ok(Done { pushed: Pushed::Stored, written: self.written });
        }
        let pushed = self.settle_known(stanza, how)?;
        Ok(Done { pushed, written: None })
    }

    fn settle_known(mut self, stanza: &Stanza, how: How<'_>) -> Result<Pushed> {
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
            Err(Error::Corrupt(why)) => self.replace(stanza, here, &why, How { like: None, ..how }),
            Err(error) => Err(error),
        }
    }

    /// The name stands for no content at all. One at a time, and looking again, so that nobody sets
    /// aside a good object.
    fn replace(mut self, stanza: &Stanza, here: Hash, why: &str, how: How<'_>) -> Result<Pushed> {
        let key = self.key.clone();
        let _lock = stanza.store.lock(&stanza.key("locks/repair"), LockMode::Exclusive)?;
        match existing_hash(stanza, &self.from.name, &key) {
            Err(Error::Corrupt(_)) => {
                crate::log::warning(format_args!("{why}; it is set aside and stored anew"));
                stanza.store.set_aside(&key)?;
            }
            _ => return Err(Error::Locked(format!("{key} is being repaired"))),
        }
        if stanza.store.create(&key, &mut |sink| self.write(sink, how))? == Created::Exists {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::{How, Like, Pushed, push};
    use crate::error::Error;
    use crate::repo::local::LocalStore;
    use crate::repo::object::{self, Codec};
    use crate::repo::stanza::{FORMAT, Stanza, StanzaInfo};
    use crate::repo::wal::{self, TEXT};
    use crate::wal::file::WalFile;

    fn stanza(place: &Path) -> Stanza {
        let store = Box::new(LocalStore::init(place).unwrap());
        let info = StanzaInfo {
            format: FORMAT,
            system_identifier: 1,
            wal_segment_size: 1 << 20,
            pg_version: 15,
        };
        Stanza::create(store, "main", &info).unwrap().0
    }

    fn content(stanza: &Stanza, file: &WalFile) -> Vec<u8> {
        let key = wal::key(stanza, &file.name);
        let mut bytes = Vec::new();
        object::read(stanza.store.open(&key).unwrap().unwrap().as_ref(), &key, TEXT, &mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn another_repository_gets_what_the_first_has_taken_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| stanza(&dir.path().join(name)));
        let file = WalFile::at(dir.path().join("00000002.history")).unwrap();
        let (taken, later) = (b"1\t0/3000000\tx\n", b"1\t0/4000000\ty\n");
        std::fs::write(&file.path, taken).unwrap();
        for codec in [Codec::Zstd(3), Codec::None] {
            let how = How { codec, like: None };
            let done = push(&a, &file, how).unwrap();
            let written = done.written.unwrap();
            let written = HashMap::from([(file.clone(), written)]);
            let like = Like { stanza: &a, written: &written };
            let how = How { codec: Codec::Zstd(3), like: Some(&like) };
            // The file has changed since: what is stored comes from the other repository, and is
            // compressed again only where it has another form. Then it is refused.
            std::fs::write(&file.path, later).unwrap();
            match codec {
                Codec::None => assert!(matches!(push(&c, &file, how), Err(Error::Corrupt(_)))),
                _ => {
                    assert_eq!(push(&b, &file, how).unwrap().pushed, Pushed::Stored);
                    assert_eq!(content(&b, &file), taken);
                }
            }
            // What the other has is damaged: the file is read, and held against what was taken.
            let key = wal::key(&a, &file.name);
            std::fs::write(dir.path().join("a").join(&key), b"nothing").unwrap();
            assert!(matches!(push(&d, &file, how), Err(Error::Corrupt(_))));
            std::fs::write(&file.path, taken).unwrap();
            assert_eq!(push(&d, &file, how).unwrap().pushed, Pushed::Stored);
            assert_eq!(content(&d, &file), taken);
            a.store.remove(&key).unwrap();
            d.store.remove(&wal::key(&d, &file.name)).unwrap();
        }
    }
}
