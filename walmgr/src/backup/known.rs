//! Chunks that a new backup need not store: those of broken-off backups, and those of the backup it
//! builds on.

use std::collections::BTreeSet;

use crate::backup::copy::{self, Known, Proof};
use crate::backup::info::BackupInfo;
use crate::backup::manifest::{self, Chunk};
use crate::backup::pack::Reader;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;

impl Known {
    /// Take in what finished packs of broken-off backups hold. Damaged ones are passed over.
    pub(crate) fn add_broken_off(
        &mut self,
        stanza: &Stanza,
        complete: &[BackupInfo],
    ) -> Result<()> {
        let ids: BTreeSet<&str> = complete.iter().map(|info| info.id.as_str()).collect();
        for directory in stanza.store.list(&stanza.key("pack"))? {
            let id = directory.trim_end_matches('/');
            if ids.contains(id) {
                continue;
            }
            for name in stanza.store.list(&stanza.key(&format!("pack/{id}")))? {
                let pack = format!("pack/{id}/{name}");
                match table(stanza, &pack, self.packs.len()) {
                    Ok(chunks) => self.add_pack(pack, chunks),
                    Err(error) => log::warning(format_args!("{error}; it is not used")),
                }
            }
        }
        Ok(())
    }

    /// Take in what a complete backup refers to, whose packs are all there and begin and end as
    /// they should.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they do not.
    pub(crate) fn add_backup(
        &mut self,
        stanza: &Stanza,
        info: &BackupInfo,
        proof: Proof,
    ) -> Result<()> {
        let manifest = manifest::load(stanza, &info.id, &info.manifest_hash)?;
        let used: BTreeSet<u32> =
            manifest.files.iter().flat_map(|file| &file.chunks).map(|chunk| chunk.pack).collect();
        for (number, pack) in (0_u32..).zip(&manifest.packs) {
            if used.contains(&number) {
                table(stanza, pack, 0)?;
            }
        }
        let first = copy::number(self.packs.len());
        self.packs.extend(manifest.packs);
        for chunk in manifest.files.iter().flat_map(|file| &file.chunks) {
            let chunk = Chunk { pack: first.saturating_add(chunk.pack), ..*chunk };
            self.chunks.insert(chunk.hash, (chunk, proof));
            if proof == Proof::Promised {
                let places = self.promised.entry(chunk.hash).or_default();
                let same = |other: &Chunk| (other.pack, other.offset) == (chunk.pack, chunk.offset);
                if !places.iter().any(same) {
                    places.push(chunk);
                }
            }
        }
        Ok(())
    }

    fn add_pack(&mut self, pack: String, chunks: Vec<Chunk>) {
        self.packs.push(pack);
        self.chunks.extend(chunks.into_iter().map(|chunk| (chunk.hash, (chunk, Proof::Said))));
    }
}

fn table(stanza: &Stanza, pack: &str, number: usize) -> Result<Vec<Chunk>> {
    let key = stanza.key(pack);
    let source =
        stanza.store.open(&key)?.ok_or_else(|| Error::Corrupt(format!("{key} is missing")))?;
    Reader::open(source, &key)?.table(copy::number(number))
}
