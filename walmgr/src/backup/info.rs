//! `backup/ID.json`: the small object that makes a backup exist, with all that a list of backups
//! shows.

use std::collections::BTreeMap;
use std::path::Component;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::backup::name;
use crate::backup::pin::{Marks, Pin};
use crate::error::{Error, Result};
use crate::repo::stanza::Stanza;
use crate::repo::{Created, create_small, read_all};
use crate::wal::lsn::Lsn;
use crate::wal::name::Segment;

/// A complete backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BackupInfo {
    /// Version of the layout.
    pub(crate) format: u32,
    /// Name, which sorts by time.
    pub(crate) id: String,
    /// The operator's words.
    pub(crate) label: String,
    /// BLAKE3 of the manifest.
    pub(crate) manifest_hash: String,
    /// Whose it is; text, since JSON readers lose digits of such numbers.
    pub(crate) system_identifier: String,
    /// Major version.
    pub(crate) pg_version: u32,
    /// Taken from a standby.
    pub(crate) from_standby: bool,
    /// The timeline of all its WAL.
    pub(crate) timeline: u32,
    /// Replay begins here.
    pub(crate) start_lsn: Lsn,
    /// Replay is consistent from here.
    pub(crate) stop_lsn: Lsn,
    /// First WAL segment it needs.
    pub(crate) start_wal: String,
    /// Last WAL segment it needs to be consistent.
    pub(crate) stop_wal: String,
    /// Begin, by the server's clock.
    pub(crate) start_time: Timestamp,
    /// End, by the server's clock.
    pub(crate) stop_time: Timestamp,
    /// Number of files.
    pub(crate) files: u64,
    /// Bytes of all files.
    pub(crate) size: u64,
    /// Bytes that this backup added to the repository.
    pub(crate) added: u64,
    /// Backups whose packs it shares.
    pub(crate) shares_with: Vec<String>,
    /// Places of the tablespaces by oid; relative ones are inside the data directory. See
    /// [`crate::backup::name`].
    pub(crate) tablespaces: BTreeMap<String, String>,
    /// Pages with a wrong checksum, `path:block`.
    pub(crate) damaged_pages: Vec<String>,
    /// Databases by oid, as they were at the end; none in a backup of an older walmgr.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) databases: BTreeMap<String, String>,
    /// Changes of hint bits are in the WAL, so that each page comes whole before it changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) logs_hints: bool,
    /// What keeps it whatever the rules say. An object of its own.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<Pin>,
    /// The WAL after it was expired: it restores to its own end only. An object of its own.
    #[serde(skip_deserializing, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) standalone: bool,
}

impl BackupInfo {
    /// First WAL segment it needs.
    pub(crate) fn start_segment(&self, segment_size: u32) -> Segment {
        self.start_lsn.segment(self.timeline, segment_size)
    }

    /// Last WAL segment it needs to be consistent.
    pub(crate) fn stop_segment(&self, segment_size: u32) -> Segment {
        self.stop_lsn.segment_before(self.timeline, segment_size)
    }
}

/// Make the backup exist.
pub(crate) fn commit(stanza: &Stanza, info: &BackupInfo) -> Result<()> {
    let text = serde_json::to_string_pretty(info)
        .map_err(|error| Error::Failed(format!("write backup info: {error}")))?;
    let key = stanza.key(&format!("backup/{}.json", info.id));
    match create_small(stanza.store.as_ref(), &key, text.as_bytes())? {
        Created::New => Ok(()),
        Created::Exists => Err(Error::Mismatch(format!("backup {} exists", info.id))),
    }
}

/// All complete backups, oldest first.
///
/// # Errors
/// [`Error::Corrupt`] when one cannot be read: a list that leaves one out would make its WAL look
/// unneeded.
pub(crate) fn list(stanza: &Stanza) -> Result<Vec<BackupInfo>> {
    let names = stanza.store.list(&stanza.key("backup"))?;
    let marks = Marks::of(&names);
    let ids = names.iter().filter_map(|name| name.strip_suffix(".json"));
    ids.map(|id| {
        let mut info = load(stanza, id)?;
        info.pin = marks.pin(stanza, id)?;
        info.standalone = marks.is_standalone(id);
        Ok(info)
    })
    .collect()
}

/// One backup, without its marks.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Corrupt`].
pub(crate) fn load(stanza: &Stanza, id: &str) -> Result<BackupInfo> {
    crate::repo::stanza::check_name(id)?;
    let key = stanza.key(&format!("backup/{id}.json"));
    let bytes = read_all(stanza.store.as_ref(), &key)?
        .ok_or_else(|| Error::NotFound(format!("backup \"{id}\" does not exist")))?;
    let info: BackupInfo = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Corrupt(format!("{key}: {error}")))?;
    if info.format != 1 || info.id != id {
        return Err(Error::Corrupt(format!("{key} is not the information of backup \"{id}\"")));
    }
    if let Some((oid, place)) = info.tablespaces.iter().find(|(oid, place)| !is_place(oid, place)) {
        return Err(Error::Corrupt(format!("{key}: bad tablespace \"{oid}\" at \"{place}\"")));
    }
    Ok(info)
}

/// A tablespace has a number, and a place that is absolute, or below the data directory.
fn is_place(oid: &str, place: &str) -> bool {
    let Some(path) = name::to_path(place) else { return false };
    let absolute = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
    !oid.is_empty()
        && oid.bytes().all(|byte| byte.is_ascii_digit())
        && !place.contains('\0')
        && (absolute || name::is_plain(place))
}

/// A name for a backup that begins now, which no complete or broken-off backup has.
pub(crate) fn new_id(stanza: &Stanza) -> Result<String> {
    new_id_at(stanza, Timestamp::now())
}

/// A name for a backup that began at a time; a second or more later if that name was used before.
pub(crate) fn new_id_at(stanza: &Stanza, mut time: Timestamp) -> Result<String> {
    let taken = stanza.store.list(&stanza.key("backup"))?;
    let packs = stanza.store.list(&stanza.key("pack"))?;
    loop {
        let id = id_of(time);
        let used = |names: &[String]| names.iter().any(|name| name.starts_with(&id));
        if !used(&taken) && !used(&packs) {
            return Ok(id);
        }
        time = time
            .checked_add(jiff::SignedDuration::from_secs(1))
            .map_err(|error| Error::Failed(format!("the clock is beyond reason: {error}")))?;
    }
}

/// The name of a backup that begins at a time.
pub(crate) fn id_of(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The server's time, to the microsecond it has.
pub(crate) fn timestamp(time: SystemTime) -> Result<Timestamp> {
    Timestamp::try_from(time).map_err(|error| Error::Server(format!("odd time: {error}")))
}
