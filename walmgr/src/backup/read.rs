//! Reading a backup's chunks, by many threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backup::manifest::{Chunk, Manifest};
use crate::backup::pack::Reader;
use crate::error::{Error, Result};
use crate::repo::stanza::Stanza;

/// Opens packs as they are needed and keeps them open.
pub(crate) struct Packs<'a> {
    stanza: &'a Stanza,
    names: &'a [String],
    open: Mutex<HashMap<u32, Arc<Reader>>>,
}

impl<'a> Packs<'a> {
    /// The packs of a manifest.
    pub(crate) fn new(stanza: &'a Stanza, manifest: &'a Manifest) -> Self {
        Self::of(stanza, &manifest.packs)
    }

    /// The packs that have these names.
    pub(crate) fn of(stanza: &'a Stanza, names: &'a [String]) -> Self {
        Self { stanza, names, open: Mutex::new(HashMap::new()) }
    }

    /// Read and verify a chunk.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it, or its pack, is missing or damaged.
    pub(crate) fn read(&self, chunk: &Chunk) -> Result<Vec<u8>> {
        let open = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = open().get(&chunk.pack).cloned();
        if let Some(reader) = cached {
            return reader.read(chunk);
        }
        let name = usize::try_from(chunk.pack).ok().and_then(|number| self.names.get(number));
        let name =
            name.ok_or_else(|| Error::Corrupt(format!("no pack has number {}", chunk.pack)))?;
        let key = self.stanza.key(name);
        let source = self
            .stanza
            .store
            .open(&key)?
            .ok_or_else(|| Error::Corrupt(format!("{key} is missing")))?;
        let reader = Arc::new(Reader::open(source, &key)?);
        open().insert(chunk.pack, Arc::clone(&reader));
        reader.read(chunk)
    }
}
