//! Base backups in the repository.
//!
//! Files are cut into chunks; a chunk is stored once, by its hash, inside a pack ([`pack`]). The
//! manifest ([`manifest`]) says which chunks make which file, and `backup/ID.json` ([`info`]),
//! written last, makes the backup exist. Since chunks are addressed by content, an incremental
//! backup is one that finds chunks in packs that are there already, and so is one that resumes:
//! there is no chain to break.

pub(crate) mod copy;
pub(crate) mod info;
pub(crate) mod known;
pub(crate) mod manifest;
pub(crate) mod name;
pub(crate) mod pack;
pub(crate) mod pg_manifest;
pub(crate) mod pin;
pub(crate) mod progress;
pub(crate) mod read;
pub(crate) mod scan;
pub(crate) mod settings;
pub(crate) mod unit;
