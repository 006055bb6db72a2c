//! The file that a configuration was read from, and whether it still says the same: a process that
//! stays must not go on by what an operator has changed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Original {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Which file it was, and since when it was so.
    state: Option<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(meta: &Metadata) -> Self {
        Self {
            file: (meta.dev(), meta.ino()),
            size: meta.size(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

impl Original {
    /// Read a file; what it says. What is written to it meanwhile counts as written later.
    pub(super) fn read(path: &Path) -> io::Result<(Self, String)> {
        let mut file = File::open(path)?;
        let state = State::of(&file.metadata()?);
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((Self { path: path.to_owned(), state: Some(state) }, text))
    }

    /// Refuse to go on when the file is not the one that was read, or somebody has written to it.
    ///
    /// # Errors
    /// [`Error::Failed`], after which a service manager starts the process again.
    pub(crate) fn check(&self) -> Result<()> {
        match self.path.metadata() {
            Ok(meta) if Some(State::of(&meta)) == self.state => Ok(()),
            _ => Err(Error::Failed(format!(
                "{} was changed since it was read: this process must be started anew",
                self.path.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::Original;

    #[test]
    fn every_change_of_a_file_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("walmgr.toml");
        let other = directory.path().join("other");
        let anew = || {
            fs::write(&path, "one").unwrap();
            let (original, text) = Original::read(&path).unwrap();
            assert!(text == "one" && original.check().is_ok());
            original
        };
        // As long as before, and with a time of its own: the clock of files is coarse.
        let original = anew();
        fs::write(&path, "two").unwrap();
        let later = SystemTime::now() + Duration::from_secs(1);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(original.check().is_err(), "written");
        let original = anew();
        fs::write(&other, "one").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(original.check().is_err(), "renamed over");
        let original = anew();
        fs::remove_file(&path).unwrap();
        assert!(original.check().is_err(), "removed");
        // A name that leads elsewhere now.
        std::os::unix::fs::symlink("a", &path).unwrap();
        fs::write(directory.path().join("a"), "one").unwrap();
        let (original, _) = Original::read(&path).unwrap();
        assert!(original.check().is_ok());
        fs::write(directory.path().join("b"), "one").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("b", &path).unwrap();
        assert!(original.check().is_err(), "led elsewhere");
    }
}
