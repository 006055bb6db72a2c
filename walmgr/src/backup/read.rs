//! Reading a backup's chunks, by many threads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::backup::manifest::{Chunk, Manifest};
use crate::backup::pack::Reader;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;

/// Opens packs as they are needed and keeps them open.
pub(crate) struct Packs<'a> {
    /// Where the packs are: the backup's own repository, and spares.
    stanzas: Vec<&'a Stanza>,
    /// The one that is asked first: the last that had what another had not.
    first: AtomicUsize,
    names: &'a [String],
    open: Mutex<HashMap<(usize, u32), Arc<Reader>>>,
}

impl<'a> Packs<'a> {
    /// The packs of a manifest.
    pub(crate) fn new(stanza: &'a Stanza, manifest: &'a Manifest) -> Self {
        Self::of(stanza, &manifest.packs)
    }

    /// The packs that have these names.
    pub(crate) fn of(stanza: &'a Stanza, names: &'a [String]) -> Self {
        let (stanzas, first) = (vec![stanza], AtomicUsize::new(0));
        Self { stanzas, first, names, open: Mutex::new(HashMap::new()) }
    }

    /// The same, which other repositories have as well.
    pub(crate) fn with_spares(mut self, spares: impl Iterator<Item = &'a Stanza>) -> Self {
        self.stanzas.extend(spares);
        self
    }

    /// Read and verify a chunk. Each says by its hash what it is, so it may come from any of the
    /// repositories.
    ///
    /// # Errors
    /// Of the first that was asked, when none has it: [`Error::Corrupt`] when it, or its pack, is
    /// missing or damaged.
    pub(crate) fn read(&self, chunk: &Chunk) -> Result<Vec<u8>> {
        let (count, first) = (self.stanzas.len(), self.first.load(Ordering::Relaxed));
        let mut failed = None;
        for at in (0..count).map(|step| (first + step) % count) {
            match self.read_from(at, chunk) {
                Ok(content) => {
                    if let Some(error) = failed
                        && self.first.swap(at, Ordering::Relaxed) != at
                    {
                        let place = self.stanzas.get(at).map(|stanza| stanza.store.describe());
                        let place = place.as_deref().unwrap_or("another repository");
                        log::warning(format_args!("{error}; it is read from {place}"));
                    }
                    return Ok(content);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| Error::Failed("there is no repository to ask".to_owned())))
    }

    fn read_from(&self, at: usize, chunk: &Chunk) -> Result<Vec<u8>> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = open().get(&(at, chunk.pack)).cloned();
        if let Some(reader) = cached {
            return reader.read(chunk);
        }
        let name = usize::try_from(chunk.pack).ok().and_then(|number| self.names.get(number));
        let (Some(name), Some(stanza)) = (name, self.stanzas.get(at)) else {
            return Err(Error::Corrupt(format!("no pack has number {}", chunk.pack)));
        };
        let key = stanza.key(name);
        let source =
            stanza.store.open(&key)?.ok_or_else(|| Error::Corrupt(format!("{key} is missing")))?;
        let reader = Arc::new(Reader::open(source, &key)?);
        open().insert((at, chunk.pack), Arc::clone(&reader));
        reader.read(chunk)
    }
}
