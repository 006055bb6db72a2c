//! A WAL file on this host.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::wal::name::WalName;

/// A WAL file on this host, and what the archive calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WalFile {
    /// Its name in the archive.
    pub(crate) name: WalName,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl WalFile {
    /// The file at a path that ends in its name.
    ///
    /// # Errors
    /// [`Error::Usage`] for any other path.
    pub(crate) fn at(path: PathBuf) -> Result<Self> {
        let leaf = path.file_name().and_then(|name| name.to_str());
        let leaf =
            leaf.ok_or_else(|| Error::Usage(format!("{} has no file name", path.display())))?;
        Ok(Self { name: WalName::parse(leaf)?, path })
    }

    /// True when its path ends in its name.
    pub(crate) fn has_its_name(&self) -> bool {
        self.path.ends_with(self.name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::WalFile;
    use crate::wal::name::WalName;

    #[test]
    fn the_name_is_the_last_part_of_the_path_or_told() {
        let file = WalFile::at("pg_wal/00000002.history".into()).unwrap();
        assert_eq!(file.name, WalName::History(2));
        assert!(file.has_its_name());
        let told = WalFile { name: WalName::History(3), ..file };
        assert!(!told.has_its_name());
        for path in ["", "..", "/", "pg_wal/RECOVERYXLOG"] {
            assert_eq!(WalFile::at(path.into()).unwrap_err().exit_code(), 2, "{path}");
        }
    }
}
