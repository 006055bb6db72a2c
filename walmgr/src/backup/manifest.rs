//! `backup/ID.manifest`: every file of a backup and the chunks it is made of.
//!
//! JSON lines inside an object with hash ([`crate::repo::object`]): the [`Manifest`] without its
//! files, then one [`FileEntry`] a line.

use std::io::{BufRead, Cursor, Write};

use serde::{Deserialize, Serialize};

use crate::backup::name;
use crate::error::{Error, Result};
use crate::repo::object::{self, Codec, Hash};
use crate::repo::stanza::Stanza;
use crate::size::wide;

/// Size of a chunk; the last of a file may be shorter.
pub(crate) const CHUNK: usize = 256 << 10;

/// The control file has 8 KiB; this is four times as many digits.
const CONTROL_LIMIT: usize = 64 << 10;

/// Path prefix of configuration files that live outside the data directory.
pub(crate) const CONFIG: &str = "@config/";

/// A manifest is mostly hashes: it never compresses better than this, and never is longer than
/// that.
const RATIO: u64 = 64;
const LONGEST: u64 = 16 << 30;

/// All of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// Permissions of the data directory; 0 when nobody has noted them.
    #[serde(default)]
    pub(crate) mode: u32,
    /// Links, but for those of tablespaces, and where they lead. What a link leads to outside of
    /// the data directory is in the backup under the link's own path.
    #[serde(default)]
    pub(crate) links: Vec<(String, String)>,
    /// Directories with their permissions, parents first.
    pub(crate) directories: Vec<(String, u32)>,
    /// Keys of packs, relative to the stanza; chunks refer to them by number.
    pub(crate) packs: Vec<String>,
    /// Content of `backup_label`.
    pub(crate) backup_label: String,
    /// `global/pg_control`, read after everything else.
    pub(crate) control: Control,
    /// All other files.
    #[serde(skip)]
    pub(crate) files: Vec<FileEntry>,
}

/// The control file. It is part of the manifest, since it must be neither torn nor older than any
/// other file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Control {
    /// Content, in hexadecimal.
    pub(crate) content: String,
    /// Permissions.
    pub(crate) mode: u32,
    /// Time of last change, seconds since 1970.
    pub(crate) mtime: i64,
}

impl Control {
    /// Path below the data directory.
    pub(crate) const PATH: &str = "global/pg_control";

    /// From bytes.
    pub(crate) fn new(content: &[u8], mode: u32, mtime: i64) -> Self {
        use std::fmt::Write;
        let mut text = String::with_capacity(content.len() * 2);
        for byte in content {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self { content: text, mode, mtime }
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        name::bytes(&self.content)
            .ok_or_else(|| Error::Corrupt("the manifest's control file is damaged".to_owned()))
    }
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Path below the data directory, tablespaces through `pg_tblspc/OID`; see
    /// [`crate::backup::name`].
    pub(crate) path: String,
    /// Length.
    pub(crate) size: u64,
    /// Permissions.
    pub(crate) mode: u32,
    /// Time of last change, seconds since 1970.
    pub(crate) mtime: i64,
    /// CRC-32C of the content, for PostgreSQL's own manifest.
    pub(crate) crc: u32,
    /// Its chunks in order.
    pub(crate) chunks: Vec<Chunk>,
}

/// Where the bytes of one chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(String, u32, u64, u32, u32)", into = "(String, u32, u64, u32, u32)")]
pub(crate) struct Chunk {
    /// Of the content.
    pub(crate) hash: Hash,
    /// Number of the pack in [`Manifest::packs`].
    pub(crate) pack: u32,
    /// Place in the pack.
    pub(crate) offset: u64,
    /// Length in the pack.
    pub(crate) stored: u32,
    /// Length of the content.
    pub(crate) length: u32,
}

impl From<Chunk> for (String, u32, u64, u32, u32) {
    fn from(chunk: Chunk) -> Self {
        (chunk.hash.to_string(), chunk.pack, chunk.offset, chunk.stored, chunk.length)
    }
}

impl TryFrom<(String, u32, u64, u32, u32)> for Chunk {
    type Error = String;

    fn try_from(
        (hash, pack, offset, stored, length): (String, u32, u64, u32, u32),
    ) -> std::result::Result<Self, String> {
        let hash = Hash::parse(&hash).ok_or_else(|| format!("\"{hash}\" is no hash"))?;
        Ok(Self { hash, pack, offset, stored, length })
    }
}

/// Store a manifest; its hash.
pub(crate) fn store(stanza: &Stanza, id: &str, manifest: &Manifest) -> Result<Hash> {
    let text = to_lines(manifest)?;
    let key = key(stanza, id);
    let length = wide(text.len());
    stanza.store.create(&key, &mut |sink| {
        object::write(sink, &mut Cursor::new(&text), length, Codec::Zstd(3)).map(|_| ())
    })?;
    Ok(Hash::of(&text))
}

/// Load a manifest and hold it against the hash in the backup's information.
///
/// # Errors
/// [`Error::Corrupt`] when it is missing, damaged or another one.
pub(crate) fn load(stanza: &Stanza, id: &str, hash: &str) -> Result<Manifest> {
    let key = key(stanza, id);
    let source = stanza
        .store
        .open(&key)?
        .ok_or_else(|| Error::Corrupt(format!("manifest of backup {id} is missing")))?;
    let mut text = Vec::new();
    let limit = source.size().saturating_mul(RATIO).saturating_add(1 << 20).min(LONGEST);
    let meta = object::read(source.as_ref(), &key, limit, &mut text)?;
    if meta.hash.to_string() != hash {
        return Err(Error::Corrupt(format!(
            "manifest of backup {id} is not the one it was committed with"
        )));
    }
    from_lines(&text).map_err(|why| Error::Corrupt(format!("{key}: {why}")))
}

/// The key of a backup's manifest.
pub(crate) fn key(stanza: &Stanza, id: &str) -> String {
    stanza.key(&format!("backup/{id}.manifest"))
}

fn to_lines(manifest: &Manifest) -> Result<Vec<u8>> {
    let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("write manifest: {error}"));
    let mut text = serde_json::to_vec(manifest).map_err(|error| failed(&error))?;
    for file in &manifest.files {
        text.push(b'\n');
        serde_json::to_writer(&mut text, file).map_err(|error| failed(&error))?;
    }
    text.flush().map_err(|error| failed(&error))?;
    Ok(text)
}

fn from_lines(text: &[u8]) -> std::result::Result<Manifest, String> {
    let mut lines = text.lines();
    let first = lines.next().ok_or("it is empty")?.map_err(|error| error.to_string())?;
    let mut manifest: Manifest = serde_json::from_str(&first).map_err(|error| error.to_string())?;
    check_paths(&manifest)?;
    for line in lines {
        let line = line.map_err(|error| error.to_string())?;
        let file: FileEntry = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        check(&file, manifest.packs.len())?;
        manifest.files.push(file);
    }
    Ok(manifest)
}

/// Refuse what a restore must not follow, whoever wrote it: nothing leads out of the data directory
/// or the stanza.
fn check_paths(manifest: &Manifest) -> std::result::Result<(), String> {
    let below = |path: &str| name::is_plain(path) && !path.starts_with(CONFIG);
    for (path, _) in &manifest.directories {
        if !below(path) {
            return Err(format!("bad directory \"{path}\""));
        }
    }
    for (path, target) in &manifest.links {
        let leads = name::to_path(target).is_some_and(|path| !path.as_os_str().is_empty());
        if !below(path) || !leads || target.contains('\0') {
            return Err(format!("bad link \"{path}\""));
        }
    }
    for pack in &manifest.packs {
        if !name::is_plain(pack) || !pack.starts_with("pack/") {
            return Err(format!("bad pack \"{pack}\""));
        }
    }
    if manifest.control.content.len() > CONTROL_LIMIT {
        return Err("the control file is too long".to_owned());
    }
    Ok(())
}

/// Refuse a file that a restore could not or must not follow.
fn check(file: &FileEntry, packs: usize) -> std::result::Result<(), String> {
    let plain = match file.path.strip_prefix(CONFIG) {
        Some(leaf) => name::is_plain(leaf) && !leaf.contains('/'),
        None => name::is_plain(&file.path),
    };
    let length: u64 = file.chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
    let known = |chunk: &Chunk| usize::try_from(chunk.pack).is_ok_and(|pack| pack < packs);
    if plain && length == file.size && file.chunks.iter().all(known) {
        Ok(())
    } else {
        Err(format!("bad entry for \"{}\"", file.path))
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, Control, FileEntry, Manifest, from_lines, to_lines};
    use crate::repo::object::Hash;

    fn sample() -> Manifest {
        let chunk = Chunk { hash: Hash::of(b"x"), pack: 0, offset: 9, stored: 3, length: 5 };
        Manifest {
            mode: 0o750,
            links: vec![("base/7".to_owned(), "/elsewhere/7".to_owned())],
            directories: vec![("base".to_owned(), 0o700)],
            packs: vec!["pack/1/0".to_owned()],
            backup_label: "START\n".to_owned(),
            control: Control::new(&[1, 0xAB], 0o600, 3),
            files: vec![FileEntry {
                path: "base/1".to_owned(),
                size: 10,
                mode: 0o600,
                mtime: 1,
                crc: 2,
                chunks: vec![chunk, chunk],
            }],
        }
    }

    #[test]
    fn a_manifest_comes_back() {
        assert_eq!(from_lines(&to_lines(&sample()).unwrap()).unwrap(), sample());
        assert_eq!(sample().control.bytes().unwrap(), [1, 0xAB]);
    }

    #[test]
    fn whatever_leads_elsewhere_is_refused() {
        let changes: [fn(&mut Manifest); 9] = [
            |it| it.directories[0].0 = "/tmp".to_owned(),
            |it| it.directories[0].0 = "../x".to_owned(),
            |it| it.directories[0].0 = "pg_tblspc/../x".to_owned(),
            |it| it.directories[0].0 = "@config/x".to_owned(),
            |it| it.links = vec![("../x".to_owned(), "y".to_owned())],
            |it| it.links = vec![("x".to_owned(), String::new())],
            |it| it.packs[0] = "pack/../../x".to_owned(),
            |it| it.packs[0] = "stanza.json".to_owned(),
            |it| it.files[0].path = "@config/../x".to_owned(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut manifest = sample();
            change(&mut manifest);
            assert!(from_lines(&to_lines(&manifest).unwrap()).is_err(), "{number}");
        }
    }

    #[test]
    fn entries_that_lead_elsewhere_are_refused() {
        let changes: [fn(&mut FileEntry); 4] = [
            |file| file.path = "../x".to_owned(),
            |file| file.path = "/etc/passwd".to_owned(),
            |file| file.size = 11,
            |file| file.chunks[1].pack = 1,
        ];
        for change in changes {
            let mut manifest = sample();
            change(&mut manifest.files[0]);
            assert!(from_lines(&to_lines(&manifest).unwrap()).is_err());
        }
    }
}
