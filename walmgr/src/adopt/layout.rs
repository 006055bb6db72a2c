//! Where walmgr3 kept its things: below `walmgr_data`, or wherever its INI file says.

use std::path::{Path, PathBuf};

use crate::adopt::settings::Legacy;
use crate::error::{Error, Result};

/// Names in `logs.complete` by which walmgr3 talked to itself.
const FLAGS: [&str; 5] = ["BACKUPLOCK", "STOP", "PAUSE", "PROGRESS", "PG_RECEIVEXLOG"];

/// The places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whole segments, history files: `completed_wals`.
    pub(crate) complete: PathBuf,
    /// Segments that were growing: `partial_wals`.
    pub(crate) partial: PathBuf,
    /// The newest base backup; older ones have `.0`, `.1`… behind: `full_backup`.
    pub(crate) backup: PathBuf,
    /// Configuration files of the master: `config_backup`.
    pub(crate) config: PathBuf,
}

impl Layout {
    /// The places below a directory, or else those that an INI file names.
    ///
    /// # Errors
    /// [`Error::Usage`] when neither says where, or there is nothing.
    pub(crate) fn find(directory: Option<&Path>, legacy: &Legacy) -> Result<Self> {
        let (top, legacy) = match (directory, &legacy.top) {
            (Some(directory), _) => (directory.to_owned(), Legacy::default()),
            (None, Some(top)) => (top.clone(), legacy.clone()),
            (None, None) => {
                return Err(Error::Usage(
                    "name the directory that has logs.complete and data.master".to_owned(),
                ));
            }
        };
        let place = |set: Option<PathBuf>, usual| set.unwrap_or_else(|| top.join(usual));
        let layout = Self {
            complete: place(legacy.complete, "logs.complete"),
            partial: place(legacy.partial, "logs.partial"),
            backup: place(legacy.backup, "data.master"),
            config: place(legacy.config, "config.backup"),
        };
        if layout.complete.is_dir() || !layout.backups()?.is_empty() {
            return Ok(layout);
        }
        Err(Error::Usage(format!(
            "there is neither {} nor {}",
            layout.complete.display(),
            layout.backup.display()
        )))
    }

    /// Directories of base backups, oldest first.
    pub(crate) fn backups(&self) -> Result<Vec<PathBuf>> {
        let Some((parent, stem)) = self.backup.parent().zip(self.backup.file_name()) else {
            return Ok(Vec::new());
        };
        let stem = stem.to_string_lossy();
        let mut found: Vec<(Option<u32>, PathBuf)> = Vec::new();
        for name in names(parent)? {
            let number = match name.strip_prefix(stem.as_ref()) {
                Some("") => Some(None),
                Some(rest) => {
                    rest.strip_prefix('.').and_then(|number| number.parse().ok()).map(Some)
                }
                None => None,
            };
            let path = parent.join(&name);
            if let Some(number) = number
                && path.is_dir()
            {
                found.push((number, path));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// Names of configuration files that were saved apart.
    pub(crate) fn config_files(&self) -> Result<Vec<String>> {
        let mut names = names(&self.config)?;
        names.retain(|name| name.ends_with(".conf") && self.config.join(name).is_file());
        Ok(names)
    }
}

/// Names of WAL files in a directory, in the order of time: history files, then by name. What
/// walmgr3, rsync and the shell left besides is passed over.
pub(crate) fn wal_files(directory: &Path) -> Result<Vec<String>> {
    let mut names = names(directory)?;
    names.retain(|name| {
        !FLAGS.contains(&name.as_str()) && !name.starts_with('.') && directory.join(name).is_file()
    });
    names.sort_unstable_by_key(|name| (!name.ends_with(".history"), name.clone()));
    Ok(names)
}

/// Names in a directory; none when it does not exist.
fn names(directory: &Path) -> Result<Vec<String>> {
    let what = || Error::local(format!("list {}", directory.display()));
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(what()(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(what())?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Layout, wal_files};
    use crate::adopt::settings::Legacy;

    #[test]
    fn old_backups_come_before_new_ones() {
        let top = tempfile::tempdir().unwrap();
        for name in ["data.master", "data.master.0", "data.master.10", "data.master.2", "data.x"] {
            std::fs::create_dir(top.path().join(name)).unwrap();
        }
        let layout = Layout::find(Some(top.path()), &Legacy::default()).unwrap();
        let found = layout.backups().unwrap();
        let leaves: Vec<_> =
            found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(leaves, ["data.master.10", "data.master.2", "data.master.0", "data.master"]);
    }

    #[test]
    fn an_ini_file_says_where_and_a_directory_overrules_it() {
        let top = tempfile::tempdir().unwrap();
        std::fs::create_dir(top.path().join("wals")).unwrap();
        let legacy = Legacy {
            top: Some("/nowhere".into()),
            complete: Some(top.path().join("wals")),
            ..Legacy::default()
        };
        let layout = Layout::find(None, &legacy).unwrap();
        assert_eq!(layout.backup, Path::new("/nowhere/data.master"));
        assert!(Layout::find(Some(top.path()), &legacy).is_err());
        assert!(Layout::find(None, &Legacy::default()).is_err());
    }

    #[test]
    fn flags_and_unfinished_transfers_are_passed_over() {
        let top = tempfile::tempdir().unwrap();
        for name in [
            "STOP",
            ".000000010000000000000001.Xy",
            "000000010000000000000001",
            "00000002.history",
            "x.gz",
        ] {
            std::fs::write(top.path().join(name), "").unwrap();
        }
        let names = wal_files(top.path()).unwrap();
        assert_eq!(names, ["00000002.history", "000000010000000000000001", "x.gz"]);
    }
}
