//! Changing what is below a directory, and nothing else: no link on the way is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory.
pub(crate) struct Beneath {
    /// Where it is.
    pub(crate) path: PathBuf,
    directory: OwnedFd,
}

impl Beneath {
    /// Open a directory. Links in its own path are the operator's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), directory: fs::open(path, DIRECTORY, Mode::empty())? })
    }

    /// Open a file; a link in its place is none.
    pub(crate) fn file(&self, below: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(below)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(parent, name, flags, Mode::from_raw_mode(mode))?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::EXIST.into()) }
    }

    /// Make a directory, in the place of whatever else is there, and give it permissions.
    pub(crate) fn make_directory(&self, below: &Path, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(below)?;
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let open = || fs::openat(&parent, &name, flags, Mode::empty());
        let made = match open() {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                fs::unlinkat(&parent, &name, AtFlags::empty())?;
                Err(Errno::NOENT)
            }
            opened => opened,
        };
        let directory = match made {
            Err(Errno::NOENT) => {
                fs::mkdirat(&parent, &name, Mode::from_raw_mode(mode))?;
                open()?
            }
            opened => opened?,
        };
        Ok(fs::fchmod(directory, Mode::from_raw_mode(mode))?)
    }

    /// Make a link, in the place of whatever else is there.
    pub(crate) fn link(&self, below: &Path, target: &Path) -> io::Result<()> {
        if self.target(below).is_some_and(|there| there == target) {
            return Ok(());
        }
        self.remove(below)?;
        let (parent, name) = self.parent(below)?;
        Ok(fs::symlinkat(target, parent, name)?)
    }

    /// Where a link leads; `None` when there is none.
    pub(crate) fn target(&self, below: &Path) -> Option<PathBuf> {
        let (parent, name) = self.parent(below).ok()?;
        let target = fs::readlinkat(parent, name, Vec::new()).ok()?;
        use std::os::unix::ffi::OsStrExt;
        Some(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
    }

    /// Remove whatever is there; nothing need be. Of a link, the link.
    pub(crate) fn remove(&self, below: &Path) -> io::Result<()> {
        let (parent, name) = match self.parent(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        match fs::unlinkat(&parent, &name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(Errno::ISDIR | Errno::PERM) => {
                let here = format!("/proc/self/fd/{}", parent.as_fd().as_raw_fd());
                std::fs::remove_dir_all(Path::new(&here).join(name))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Give a file another name, in the place of whatever file has it.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((old, from), (new, to)) = (self.parent(from)?, self.parent(to)?);
        Ok(fs::renameat(old, from, new, to)?)
    }

    /// Make the names in a directory durable.
    pub(crate) fn sync(&self, below: &Path) -> io::Result<()> {
        Ok(fs::fsync(self.directory(below)?)?)
    }

    /// Make everything in its file system durable.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        Ok(fs::syncfs(&self.directory)?)
    }

    /// Open a directory below this one.
    pub(crate) fn directory(&self, below: &Path) -> io::Result<OwnedFd> {
        let mut here = fs::openat(&self.directory, ".", DIRECTORY, Mode::empty())?;
        for part in below {
            if matches!(part.as_encoded_bytes(), b"." | b".." | b"/") {
                return Err(Errno::INVAL.into());
            }
            here = fs::openat(&here, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(here)
    }

    fn parent(&self, below: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = below.file_name().ok_or(Errno::INVAL)?;
        let parent = below.parent().unwrap_or(Path::new(""));
        Ok((self.directory(parent)?, name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::OFlags;

    use super::Beneath;

    #[test]
    fn nothing_outside_is_reached() {
        let top = tempfile::tempdir().unwrap();
        let (inside, outside) = (top.path().join("in"), top.path().join("out"));
        for directory in [&inside, &outside] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(outside.join("file"), "kept").unwrap();
        symlink(&outside, inside.join("link")).unwrap();
        symlink(outside.join("file"), inside.join("name")).unwrap();
        let beneath = Beneath::open(&inside).unwrap();
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        for path in ["link/new", "link/file", "name", "../out/file", "link/../../out/file"] {
            assert!(beneath.file(Path::new(path), write, 0o600).is_err(), "{path}");
        }
        for path in ["link/new", "../out/new"] {
            assert!(beneath.make_directory(Path::new(path), 0o700).is_err(), "{path}");
            assert!(beneath.link(Path::new(path), Path::new("/")).is_err(), "{path}");
        }
        assert!(beneath.remove(Path::new("link/file")).is_err());
        beneath.make_directory(Path::new("link"), 0o700).unwrap();
        beneath.remove(Path::new("name")).unwrap();
        beneath.file(Path::new("link/new"), write, 0o600).unwrap().write_all(b"x").unwrap();
        beneath.remove(Path::new("link")).unwrap();
        beneath.remove(Path::new("link")).unwrap();
        assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
        let left: Vec<_> =
            fs::read_dir(&outside).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["file"]);
        assert_eq!(fs::read(outside.join("file")).unwrap(), b"kept");
    }
}
