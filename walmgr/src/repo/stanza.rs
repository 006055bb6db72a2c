//! A stanza: one cluster's part of a repository, tied to that cluster by its system identifier.
//!
//! pg_upgrade makes another system of a cluster, whose WAL has the old names again. Each system has
//! a part of the stanza of its own: the first `STANZA/`, the others `STANZA/2/`, `STANZA/3/` and so
//! on. The last one is the present.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::repo::sealed;
use crate::repo::{Created, KEYS, PARTS, Store, create_small, read_all};

/// Version of the layout. 1 had SHA-256 where 2 has BLAKE3, and was never released.
pub(crate) const FORMAT: u32 = 2;

/// What `STANZA/stanza.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StanzaInfo {
    /// Version of the layout.
    pub(crate) format: u32,
    /// The cluster's system identifier; text, since JSON readers lose digits of such numbers.
    #[serde(with = "number_as_text")]
    pub(crate) system_identifier: u64,
    /// Size of the cluster's WAL segments.
    pub(crate) wal_segment_size: u32,
    /// Major version.
    pub(crate) pg_version: u32,
}

/// An opened stanza.
pub(crate) struct Stanza {
    /// The repository.
    pub(crate) store: Box<dyn Store>,
    /// Its name.
    pub(crate) title: String,
    /// The directory of its keys: that of one system.
    pub(crate) name: String,
    /// The system.
    pub(crate) info: StanzaInfo,
    /// All systems that it has had, the present one last.
    systems: Vec<StanzaInfo>,
}

/// How many systems a stanza may have had: a pg_upgrade every year for a lifetime.
const MOST: usize = 64;

/// The directory of the keys of a stanza's system.
fn directory(title: &str, at: usize) -> String {
    if at == 0 { title.to_owned() } else { format!("{title}/{}", at + 1) }
}

impl Stanza {
    /// Open a stanza, as that of its present system.
    ///
    /// # Errors
    /// [`Error::Repository`] when the stanza is not there: it was not created, or the storage is
    /// not the right one. Never [`Error::NotFound`], since a missing stanza says nothing about the
    /// objects in it.
    pub(crate) fn open(store: Box<dyn Store>, name: &str) -> Result<Self> {
        let mut systems = Vec::new();
        while let Some(info) = Self::read(store.as_ref(), &directory(name, systems.len()))? {
            if systems.len() == MOST {
                return Err(Error::Corrupt(format!(
                    "stanza \"{name}\" has more than {MOST} systems in {}: no cluster was upgraded so \
                     often, and nobody would look at more",
                    store.describe()
                )));
            }
            systems.push(info);
        }
        let info = systems.last().cloned().ok_or_else(|| {
            Error::repository(format!(
                "stanza \"{name}\" does not exist in {} (walmgr setup creates it)",
                store.describe()
            ))(rustix::io::Errno::NOENT)
        })?;
        let name = name.to_owned();
        Ok(Self { store, name: directory(&name, systems.len() - 1), title: name, info, systems })
    }

    /// What is said of one system.
    fn read(store: &dyn Store, name: &str) -> Result<Option<StanzaInfo>> {
        let key = format!("{name}/stanza.json");
        let Some(bytes) = read_all(store, &key)? else { return Ok(None) };
        sealed::is_sealed(&store.describe(), &bytes)?;
        let info: StanzaInfo = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Corrupt(format!("{key}: {error}")))?;
        if info.format != FORMAT {
            return Err(Error::Usage(format!(
                "stanza \"{name}\" has unknown format {}",
                info.format
            )));
        }
        // As PostgreSQL has them; all that is read and written is measured by it.
        if !info.wal_segment_size.is_power_of_two()
            || !(1 << 20..=1 << 30).contains(&info.wal_segment_size)
        {
            return Err(Error::Corrupt(format!(
                "{key}: {} is no size of WAL segments",
                info.wal_segment_size
            )));
        }
        Ok(Some(info))
    }

    /// The same stanza's part of a system that it has or had.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for any other system.
    pub(crate) fn of(mut self, identifier: u64) -> Result<Self> {
        let is_it = |info: &StanzaInfo| info.system_identifier == identifier;
        let Some(at) = self.systems.iter().position(is_it) else {
            return self.check_system(identifier).map(|()| self);
        };
        self.name = directory(&self.title, at);
        self.info = self.systems.remove(at);
        self.systems.insert(at, self.info.clone());
        Ok(self)
    }

    /// Systems that it had before the present one, oldest first.
    pub(crate) fn earlier(&self) -> impl Iterator<Item = &StanzaInfo> {
        self.systems.iter().take(self.systems.len().saturating_sub(1))
    }

    /// Make another system the present one.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when somebody else upgrades it to a third one.
    pub(crate) fn upgrade(&self, info: &StanzaInfo) -> Result<()> {
        if self.systems.len() == MOST {
            return Err(Error::Usage(format!(
                "stanza \"{}\" has had {MOST} systems, and takes no other: name a new one",
                self.title
            )));
        }
        let name = directory(&self.title, self.systems.len());
        Self::write(self.store.as_ref(), &name, info)?;
        let made = Self::read(self.store.as_ref(), &name)?;
        if made.as_ref() != Some(info) {
            return Err(Error::Mismatch(format!(
                "stanza \"{}\" was upgraded to another system at the same time",
                self.title
            )));
        }
        self.store.settle(&format!("{name}/stanza.json"))
    }

    /// Create a stanza for a cluster, or open the one that is there for the same cluster.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when it belongs to another cluster.
    pub(crate) fn create(
        store: Box<dyn Store>,
        name: &str,
        info: &StanzaInfo,
    ) -> Result<(Self, Created)> {
        let created = Self::write(store.as_ref(), name, info)?;
        let stanza = Self::open(store, name)?;
        if stanza.info.system_identifier != info.system_identifier
            || stanza.info.wal_segment_size != info.wal_segment_size
        {
            return Err(Error::Mismatch(format!(
                "stanza \"{name}\" belongs to system {} (segment size {}), not to {} ({}); if that is \
                 the same cluster after pg_upgrade: walmgr stanza-upgrade",
                stanza.info.system_identifier,
                stanza.info.wal_segment_size,
                info.system_identifier,
                info.wal_segment_size
            )));
        }
        stanza.store.settle(&stanza.key("stanza.json"))?;
        Ok((stanza, created))
    }

    fn write(store: &dyn Store, name: &str, info: &StanzaInfo) -> Result<Created> {
        let text = serde_json::to_string_pretty(info)
            .map_err(|error| Error::Failed(format!("write stanza: {error}")))?;
        // A marker in each directory makes "the directory is missing" different from "there are no
        // files".
        create_small(store, &format!("{name}/wal/README"), WAL_README.as_bytes())?;
        create_small(store, &format!("{name}/stanza.json"), text.as_bytes())
    }

    /// The key of something in this stanza.
    pub(crate) fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.name)
    }

    /// Refuse a cluster that is not the stanza's.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub(crate) fn check_system(&self, system_identifier: u64) -> Result<()> {
        if system_identifier == self.info.system_identifier {
            return Ok(());
        }
        let before = self.earlier().any(|info| info.system_identifier == system_identifier);
        let why = match before {
            true => "; it was for this one before an upgrade, and takes nothing of it any more",
            false => "; if this one is its successor by pg_upgrade: walmgr stanza-upgrade",
        };
        Err(Error::Mismatch(format!(
            "this cluster is system {system_identifier}, stanza \"{}\" is for system {}{why}",
            self.title, self.info.system_identifier
        )))
    }
}

const WAL_README: &str = "WAL files of one cluster, written by walmgr: TIMELINE/HIGH/SEGMENT and TIMELINE.history.\n\
    Do not remove this file: its absence means that the repository is damaged or not mounted.\n";

mod number_as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A stanza name is one plain path component.
///
/// # Errors
/// [`Error::Usage`] for any other.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Error::Usage(format!(
            "\"{name}\" is no stanza name: letters, digits, _ - . and no leading dot"
        )));
    }
    if [KEYS, PARTS].contains(&name) {
        return Err(Error::Usage(format!("\"{name}\" is walmgr's own in a repository")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FORMAT, MOST, Stanza, StanzaInfo, check_name};
    use crate::repo::Store;
    use crate::repo::local::LocalStore;

    #[test]
    fn a_stanza_with_more_systems_than_can_be_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = || -> Box<dyn Store> { Box::new(LocalStore::init(dir.path()).unwrap()) };
        let info = |number: usize| StanzaInfo {
            format: FORMAT,
            system_identifier: u64::try_from(number).unwrap(),
            wal_segment_size: 1 << 20,
            pg_version: 15,
        };
        Stanza::create(store(), "main", &info(1)).unwrap();
        for number in 2..=MOST {
            Stanza::open(store(), "main").unwrap().upgrade(&info(number)).unwrap();
        }
        let full = Stanza::open(store(), "main").unwrap();
        assert_eq!((full.name.as_str(), full.earlier().count()), ("main/64", MOST - 1));
        let refused = full.upgrade(&info(MOST + 1)).unwrap_err();
        assert_eq!(refused.exit_code(), 2, "{refused}");
        Stanza::write(store().as_ref(), "main/65", &info(65)).unwrap();
        let refused = Stanza::open(store(), "main").err().unwrap();
        assert_eq!(refused.exit_code(), 6, "{refused}");
        assert!(refused.to_string().contains("64 systems"), "{refused}");
    }

    #[test]
    fn no_stanza_is_called_as_walmgrs_own_directories_are() {
        for name in ["walmgr.keys", "walmgr.parts", ".x", "a/b", ""] {
            assert_eq!(check_name(name).unwrap_err().exit_code(), 2, "{name}");
        }
        check_name("walmgr").unwrap();
    }
}
