//! Pid files as SkyTools has them: one process per file, a stale file is no obstacle, text pid without newline.

use std::fs;
use std::path::{Path, PathBuf};

use pgq_client::Error;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Our pid file. Dropping it removes it, unless somebody else has put theirs there.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Write it.
    ///
    /// # Errors
    /// [`Error::Config`] when another process runs with it.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let own = std::process::id();
        if let Some(pid) =
            running(path)?.filter(|pid| pid.as_raw_nonzero().get().unsigned_abs() != own)
        {
            return Err(Error::Config(format!(
                "{}: another process is running, with pid {}",
                path.display(),
                pid.as_raw_nonzero()
            )));
        }
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        fs::write(&new, own.to_string()).map_err(io)?;
        fs::rename(&new, path).map_err(io)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let ours = fs::read_to_string(&self.path)
            .is_ok_and(|text| text.trim() == std::process::id().to_string());
        if ours {
            // Nothing is lost when it stays: a stale file is no obstacle.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process a pid file names, if it runs. No file, an empty one, and one that names no process are all "not running".
///
/// # Errors
/// [`Error::Config`] for a file with something else in it; [`Error::Io`].
pub(super) fn running(path: &Path) -> Result<Option<Pid>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    let Some(line) = text.lines().next().map(str::trim).filter(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let pid = line.parse().ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Err(Error::Config(format!("{}: \"{line}\" is no pid", path.display())));
    };
    // A process of somebody else's runs as well, though we may not signal it.
    match test_kill_process(pid) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Ok(Some(pid)),
        Err(_) => Ok(None),
    }
}

/// Send a signal to the process a pid file names; false when none runs.
///
/// # Errors
/// As [`running`]; [`Error::Io`] when it may not be signalled.
pub(super) fn signal(path: &Path, signal: Signal) -> Result<bool, Error> {
    match running(path)? {
        None => Ok(false),
        Some(pid) => match kill_process(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(Error::Io { path: path.to_owned(), source: error.into() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Pidfile, running};

    #[test]
    fn stale_and_empty_files_are_no_obstacle_and_garbage_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(running(&path).unwrap().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(running(&path).unwrap().is_none());
        std::fs::write(&path, "999999999").unwrap();
        assert!(running(&path).unwrap().is_none());
        let own = Pidfile::create(&path).unwrap();
        assert!(running(&path).unwrap().is_some());
        drop(own);
        assert!(!path.exists());
        std::fs::write(&path, "soon").unwrap();
        assert!(running(&path).is_err());
        std::fs::write(&path, "1").unwrap();
        assert!(Pidfile::create(&path).unwrap_err().to_string().contains("another process"));
    }
}
