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
use crate::log;
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
    let complete = |id| Ok(with_marks(load(stanza, id)?, marks.pin(stanza, id)?, &marks));
    ids(&names).map(complete).collect()
}

/// All complete backups that can be read, oldest first, for whoever removes nothing: one that is
/// damaged is left out with a warning, and keeps nobody from the others.
///
/// # Errors
/// [`Error::Corrupt`] when there are some, and none can be read.
pub(crate) fn readable(stanza: &Stanza) -> Result<Vec<BackupInfo>> {
    let names = stanza.store.list(&stanza.key("backup"))?;
    let marks = Marks::of(&names);
    let (mut readable, mut left_out) = (Vec::new(), Vec::new());
    for id in ids(&names) {
        let info = match load(stanza, id) {
            Ok(info) => info,
            Err(error @ (Error::Corrupt(_) | Error::Usage(_))) => {
                left_out.push((id, error));
                continue;
            }
            // Expired meanwhile.
            Err(Error::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        let pin = match marks.pin(stanza, id) {
            Err(Error::Corrupt(why)) => {
                log::warning(format_args!("{why}; backup \"{id}\" counts as pinned"));
                let reason = "a pin that cannot be read".to_owned();
                Some(Pin { since: info.stop_time, until: None, reason })
            }
            pin => pin?,
        };
        readable.push(with_marks(info, pin, &marks));
    }
    if readable.is_empty()
        && let Some((_, error)) = left_out.pop()
    {
        return Err(error);
    }
    for (id, error) in left_out {
        log::warning(format_args!("{error}; backup \"{id}\" is left out"));
    }
    Ok(readable)
}

fn ids(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().filter_map(|name| name.strip_suffix(".json"))
}

fn with_marks(mut info: BackupInfo, pin: Option<Pin>, marks: &Marks) -> BackupInfo {
    info.pin = pin;
    info.standalone = marks.is_standalone(&info.id);
    info
}

/// True when there is a backup of this name, whatever can be read of it.
pub(crate) fn is_there(stanza: &Stanza, id: &str) -> Result<bool> {
    let name = format!("{id}.json");
    Ok(stanza.store.list(&stanza.key("backup"))?.contains(&name))
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
    if let Some(oid) = info.databases.keys().find(|oid| !is_oid(oid)) {
        return Err(Error::Corrupt(format!("{key}: bad database \"{oid}\"")));
    }
    Ok(info)
}

/// As a server numbers its objects. Text for its operator is made of them.
fn is_oid(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// A tablespace has a number, and a place that is absolute, or below the data directory.
fn is_place(oid: &str, place: &str) -> bool {
    let Some(path) = name::to_path(place) else { return false };
    let absolute = path.is_absolute() && path.components().all(|part| part != Component::ParentDir);
    is_oid(oid) && !place.contains('\0') && (absolute || name::is_plain(place))
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

#[cfg(test)]
mod tests {
    use super::{commit, is_there, list, load, readable};
    use crate::expire::retention::tests::backup;
    use crate::repo::Store;
    use crate::repo::local::LocalStore;
    use crate::repo::stanza::{FORMAT, Stanza, StanzaInfo};

    fn stanza(directory: &std::path::Path) -> Stanza {
        let store: Box<dyn Store> = Box::new(LocalStore::init(directory).unwrap());
        let info = StanzaInfo {
            format: FORMAT,
            system_identifier: 1,
            wal_segment_size: 1 << 20,
            pg_version: 15,
        };
        Stanza::create(store, "main", &info).unwrap().0
    }

    #[test]
    fn a_damaged_object_shuts_out_only_who_removes() {
        let directory = tempfile::tempdir().unwrap();
        let stanza = stanza(directory.path());
        for number in 1..=3 {
            commit(&stanza, &backup(number, 1, 100)).unwrap();
        }
        let ids = |all: Vec<super::BackupInfo>| -> Vec<String> {
            all.into_iter().map(|one| one.id).collect()
        };
        let all = ids(list(&stanza).unwrap());
        let place = directory.path().join("main/backup");
        std::fs::write(place.join(format!("{}.pin.1", all[0])), "junk").unwrap();
        let refused = list(&stanza).unwrap_err();
        assert_eq!(refused.exit_code(), 6, "{refused}");
        let found = readable(&stanza).unwrap();
        assert!(found[0].pin.is_some() && found[1].pin.is_none());
        assert_eq!(ids(found), all);
        std::fs::write(place.join(format!("{}.json", all[1])), "junk").unwrap();
        std::fs::write(place.join("no name.json"), "junk").unwrap();
        assert_eq!(ids(readable(&stanza).unwrap()), [all[0].clone(), all[2].clone()]);
        assert!(is_there(&stanza, &all[1]).unwrap() && !is_there(&stanza, "other").unwrap());
        list(&stanza).unwrap_err();
    }

    #[test]
    fn a_database_has_a_number_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let stanza = stanza(directory.path());
        for (number, oid) in ["1) \\gexec\n\\! x", "", "+1", "4294967296"].into_iter().enumerate() {
            let mut info = backup(i64::try_from(number).unwrap() + 1, 1, 100);
            info.databases = [(oid.to_owned(), "a".to_owned())].into();
            commit(&stanza, &info).unwrap();
            let refused = load(&stanza, &info.id).unwrap_err();
            assert!(refused.exit_code() == 6, "{oid}: {refused}");
        }
        let mut info = backup(9, 1, 100);
        info.databases = [("4294967295".to_owned(), "a".to_owned())].into();
        commit(&stanza, &info).unwrap();
        load(&stanza, &info.id).unwrap();
    }
}
