//! A stanza: one cluster's part of a repository, tied to that cluster by its system identifier.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::repo::{Created, Store, create_small, read_all};

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
    /// Its name: the top directory of its keys.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) info: StanzaInfo,
}

impl Stanza {
    /// Open a stanza.
    ///
    /// # Errors
    /// [`Error::Repository`] when the stanza is not there: it was not created, or the storage is
    /// not the right one. Never [`Error::NotFound`], since a missing stanza says nothing about the
    /// objects in it.
    pub(crate) fn open(store: Box<dyn Store>, name: &str) -> Result<Self> {
        let key = format!("{name}/stanza.json");
        let bytes = read_all(store.as_ref(), &key)?.ok_or_else(|| {
            Error::repository(format!(
                "stanza \"{name}\" does not exist in {} (walmgr setup creates it)",
                store.describe()
            ))(rustix::io::Errno::NOENT)
        })?;
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
        Ok(Self { store, name: name.to_owned(), info })
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
        let text = serde_json::to_string_pretty(info)
            .map_err(|error| Error::Failed(format!("write stanza: {error}")))?;
        // A marker in each directory makes "the directory is missing" different from "there are no
        // files".
        create_small(store.as_ref(), &format!("{name}/wal/README"), WAL_README.as_bytes())?;
        let created =
            create_small(store.as_ref(), &format!("{name}/stanza.json"), text.as_bytes())?;
        let stanza = Self::open(store, name)?;
        if stanza.info.system_identifier != info.system_identifier
            || stanza.info.wal_segment_size != info.wal_segment_size
        {
            return Err(Error::Mismatch(format!(
                "stanza \"{name}\" belongs to system {} (segment size {}), not to {} ({})",
                stanza.info.system_identifier,
                stanza.info.wal_segment_size,
                info.system_identifier,
                info.wal_segment_size
            )));
        }
        stanza.store.settle(&format!("{name}/stanza.json"))?;
        Ok((stanza, created))
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
        Err(Error::Mismatch(format!(
            "this cluster is system {system_identifier}, stanza \"{}\" is for system {}",
            self.name, self.info.system_identifier
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
    Ok(())
}
