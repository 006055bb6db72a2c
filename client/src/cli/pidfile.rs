//! Pid files as SkyTools has them: one process per file, a stale file is no obstacle, text pid
//! without newline.
//!
//! A number in a file proves nothing. A running service holds a lock on its file, and only a
//! process of the file's owner is believed to be the one it names: who may write the file cannot
//! have somebody else's process signalled.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pgq_client::Error;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal, test_kill_process,
};

/// Our pid file, locked. Dropping it removes it, unless somebody else has put theirs there.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
    file: File,
}

/// The process that a pid file names, and that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) pid: Pid,
    /// It holds the file's lock. Without, it is a program other than `pgq`, or has got the number
    /// by chance.
    pub(super) proven: bool,
}

impl Pidfile {
    /// Write it.
    ///
    /// # Errors
    /// [`Error::Config`] when another process runs with it.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        refuse_another(path)?;
        let mut file = lock_new(&new)?;
        // Whoever started at the same time has renamed its file by now, or waits for ours.
        if let Err(error) = refuse_another(path) {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        let io = |source| Error::Io { path: path.to_owned(), source };
        file.write_all(std::process::id().to_string().as_bytes()).map_err(io)?;
        fs::rename(&new, path).map_err(io)?;
        // Between its making and its lock another that starts may take ours for a dead one's, and
        // put its own there.
        if !is_at(&file, path) {
            return Err(Error::Config(format!("{}: another process is starting", path.display())));
        }
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            // Nothing is lost when it stays: a stale file is no obstacle.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Is this file the one at this place?
fn is_at(file: &File, path: &Path) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
        _ => false,
    }
}

fn refuse_another(path: &Path) -> Result<(), Error> {
    let own = std::process::id();
    match running(path)?.map(|named| named.pid.as_raw_nonzero()) {
        Some(pid) if pid.get().unsigned_abs() != own => Err(Error::Config(format!(
            "{}: another process is running, with pid {pid}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// A new file, locked. One that a dead process left is replaced; nothing is written through a link.
fn lock_new(new: &Path) -> Result<File, Error> {
    let io = |source| Error::Io { path: new.to_owned(), source };
    let create = || OpenOptions::new().write(true).create_new(true).mode(0o644).open(new);
    let file = match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if open(new).is_ok_and(|file| is_locked(&file)) {
                return Err(Error::Config(format!(
                    "{}: another process is starting",
                    new.display()
                )));
            }
            fs::remove_file(new).map_err(io)?;
            create().map_err(io)?
        }
        other => other.map_err(io)?,
    };
    file.try_lock().map_err(|error| io(error.into()))?;
    Ok(file)
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn is_locked(file: &File) -> bool {
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The process a pid file names, if it runs. No file, an empty one, and one that names no process
/// are all "not running".
///
/// # Errors
/// [`Error::Config`] for a file with something else in it, and for one that somebody else than its
/// owner may have written; [`Error::Io`].
pub(super) fn running(path: &Path) -> Result<Option<Named>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bad = |what: &str| Error::Config(format!("{}: {what}", path.display()));
    let mut file = match open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(bad("is a symbolic link; a pid file is not believed through one"));
        }
        Err(error) => return Err(io(error)),
    };
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.nlink() > 1 {
        return Err(bad("is no plain file of its own; not believed"));
    }
    let mut text = String::new();
    (&mut file).take(100).read_to_string(&mut text).map_err(io)?;
    let Some(line) = text.lines().next().map(str::trim).filter(|line| !line.is_empty()) else {
        return Ok(None);
    };
    let Some(pid) = line.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw) else {
        return Err(bad(&format!("\"{line}\" is no pid")));
    };
    // A process of somebody else's runs as well, though we may not signal it.
    if !matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)) {
        return Ok(None);
    }
    let proven = is_locked(&file);
    if metadata.mode() & 0o022 != 0 {
        return Err(bad("others than its owner can write to it; not believed (chmod go-w)"));
    }
    let owner = fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
    match owner {
        Ok(owner) if owner == metadata.uid() => Ok(Some(Named { pid, proven })),
        // The number has gone to somebody else's process since.
        Ok(_) if !proven => Ok(None),
        Ok(_) => Err(bad(&format!("process {pid} is of another user than the file; not believed"))),
        // Processes of others are hidden here, or it has just ended.
        Err(_) => Ok(proven.then_some(Named { pid, proven })),
    }
}

/// Send a signal to the process a pid file names; false when none runs. Of a process that does not
/// hold the file's lock it is believed only if `believe_unproven`: of programs that know nothing of
/// the lock.
///
/// # Errors
/// As [`running`]; [`Error::Config`] when the process may be another one; [`Error::Io`] when it may
/// not be signalled.
pub(super) fn signal(path: &Path, signal: Signal, believe_unproven: bool) -> Result<bool, Error> {
    let Some(named) = running(path)? else { return Ok(false) };
    let pid = named.pid;
    if !named.proven && !believe_unproven {
        return Err(Error::Config(format!(
            "{}: process {pid} runs, but does not hold the file; not signalled",
            path.display()
        )));
    }
    // The number may change hands at any time: hold the process, then look again whether it is
    // still the one.
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(held) if running(path)? == Some(named) => pidfd_send_signal(held, signal),
        Ok(_) => return Ok(false),
        Err(Errno::NOSYS) => kill_process(pid, signal),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(Errno::SRCH) => Ok(false),
        Err(error) => Err(Error::Io { path: path.to_owned(), source: error.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Pidfile, Signal, running, signal};

    #[test]
    fn stale_and_empty_files_are_no_obstacle_and_garbage_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        assert!(running(&path).unwrap().is_none());
        std::fs::write(&path, "").unwrap();
        assert!(running(&path).unwrap().is_none());
        std::fs::write(&path, "999999999").unwrap();
        assert!(running(&path).unwrap().is_none());
        // One that died while it started left this.
        std::fs::write(dir.path().join("pid.new"), "999999999").unwrap();
        let own = Pidfile::create(&path).unwrap();
        assert!(running(&path).unwrap().unwrap().proven);
        drop(own);
        assert!(!path.exists());
        for garbage in ["soon", "-1", "0"] {
            std::fs::write(&path, garbage).unwrap();
            assert!(running(&path).is_err(), "{garbage}");
        }
    }

    /// A child that sleeps; killed with the value.
    struct Sleeper(std::process::Child);

    impl Sleeper {
        fn start() -> Self {
            Self(std::process::Command::new("sleep").arg("3600").spawn().unwrap())
        }

        fn lives(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_that_does_not_hold_the_file_is_not_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let mut sleeper = Sleeper::start();
        std::fs::write(&path, sleeper.0.id().to_string()).unwrap();
        let refused = signal(&path, Signal::INT, false).unwrap_err().to_string();
        assert!(refused.contains("does not hold the file; not signalled"), "{refused}");
        assert!(sleeper.lives());
        // Its number also keeps a second process from starting: it may be python's.
        let refused = Pidfile::create(&path).unwrap_err().to_string();
        assert!(refused.contains("another process is running"), "{refused}");
        assert!(signal(&path, Signal::TERM, true).unwrap());
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&sleeper.0.wait().unwrap()),
            Some(15)
        );
    }

    #[test]
    fn files_that_others_may_have_written_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let own = std::process::id().to_string();
        std::fs::write(&path, &own).unwrap();
        for mode in [0o664, 0o646] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(running(&path).unwrap_err().to_string().contains("others than its owner"));
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let (link, hard) = (dir.path().join("link"), dir.path().join("hard"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(running(&link).unwrap_err().to_string().contains("symbolic link"));
        std::fs::hard_link(&path, &hard).unwrap();
        assert!(running(&hard).unwrap_err().to_string().contains("no plain file"));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("pid"), dir.path().join("victim"));
        std::fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join("pid.new")).unwrap();
        let own = Pidfile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert!(std::fs::symlink_metadata(&path).unwrap().is_file());
        drop(own);
    }
}
