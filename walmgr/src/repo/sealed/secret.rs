//! What opens a repository: a key of 32 random bytes or a passphrase, from a file or a command.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::master::{Secret32, hex, id_of, random};
use super::settings::{Encryption, From};
use crate::error::{Error, Result};
use crate::plain_file;

/// Neither a key nor a passphrase is longer.
const LIMIT: u64 = 4096;
/// What the text of a key begins with. The rest is Base64 of the key and its CRC-32C.
const PREFIX: &str = "WALMGR-KEY-1:";

/// A key or a passphrase.
pub(super) enum Secret {
    /// 32 random bytes.
    Key(Secret32),
    /// Whatever a person can remember.
    Passphrase(Zeroizing<Vec<u8>>),
}

impl Secret {
    /// Get it from where the settings say.
    ///
    /// # Errors
    /// [`Error::Key`] when it is not there, is open to others, or is no key.
    pub(super) fn of(settings: &Encryption) -> Result<Self> {
        match settings.from()? {
            From::KeyFile(path) => Self::key(&read(path)?, &path.display().to_string()),
            From::KeyCommand(command) => {
                Self::key(&output(command, settings.command_timeout)?, "what key_command printed")
            }
            From::PassphraseFile(path) => {
                Self::passphrase(&read(path)?, &path.display().to_string())
            }
            From::PassphraseCommand(command) => {
                let text = output(command, settings.command_timeout)?;
                Self::passphrase(&text, "what passphrase_command printed")
            }
        }
    }

    /// Read a key file.
    pub(super) fn key_file(path: &Path) -> Result<Self> {
        Self::key(&read(path)?, &path.display().to_string())
    }

    /// Read a file with a passphrase.
    pub(super) fn passphrase_file(path: &Path) -> Result<Self> {
        Self::passphrase(&read(path)?, &path.display().to_string())
    }

    fn key(text: &[u8], what: &str) -> Result<Self> {
        let no_key = || {
            Error::Key(format!(
                "{what}: no walmgr key ({PREFIX}…); walmgr key generate FILE makes one"
            ))
        };
        let mut lines = std::str::from_utf8(text)
            .map_err(|_| no_key())?
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines.next().and_then(|line| line.strip_prefix(PREFIX)).ok_or_else(no_key)?;
        if lines.next().is_some() {
            return Err(Error::Key(format!("{what} has more than one key")));
        }
        let bytes = Zeroizing::new(STANDARD.decode(line).map_err(|_| no_key())?);
        let (secret, crc) = bytes.split_at_checked(32).ok_or_else(no_key)?;
        if crc != crc32c::crc32c(secret).to_le_bytes() {
            return Err(Error::Key(format!("{what}: the key was changed, or is not whole")));
        }
        let mut key = Secret32::default();
        key.copy_from_slice(secret);
        Ok(Self::Key(key))
    }

    fn passphrase(text: &[u8], what: &str) -> Result<Self> {
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(Error::Key(format!("{what}: the first line, the passphrase, is empty")));
        }
        Ok(Self::Passphrase(Zeroizing::new(line.to_vec())))
    }

    /// What a key is called, in every repository; a passphrase has no name of its own.
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Key(key) => Some(hex(&id_of(key.as_slice(), "walmgr key id 1"))),
            Self::Passphrase(_) => None,
        }
    }
}

/// Make a new key in a new file.
///
/// # Errors
/// [`Error::Usage`] when the file exists.
pub(crate) fn generate(path: &Path) -> Result<String> {
    let what = || Error::local(format!("write {}", path.display()));
    let mut key = Secret32::default();
    random(key.as_mut_slice())?;
    let mut bytes = Zeroizing::new(key.to_vec());
    bytes.extend_from_slice(&crc32c::crc32c(key.as_slice()).to_le_bytes());
    let id = Secret::Key(key).id().unwrap_or_default();
    let text = Zeroizing::new(format!(
        "# walmgr key {id}. Who has it can read the repository; without it nobody can.\n{PREFIX}{}\n",
        *Zeroizing::new(STANDARD.encode(&*bytes))
    ));
    // Whole or not at all: a key that is cut off would look like a wrong one.
    let path = std::path::absolute(path).map_err(what())?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let temporary = directory.join(format!(".walmgr-key.{}.tmp", std::process::id()));
    let mut file: File =
        File::options().write(true).create_new(true).mode(0o600).open(&temporary).map_err(what())?;
    let made = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&temporary, &path));
    // Best effort: it is of no use any more, and closed to others.
    let _ = std::fs::remove_file(&temporary);
    match made {
        Ok(()) => crate::durable::sync_directory(directory).map(|()| id),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Usage(format!("{} exists; a key is never replaced", path.display())))
        }
        Err(error) => Err(what()(error)),
    }
}

/// Read a file that nobody but its owner can.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |why: String| Error::Key(format!("key file {}: {why}", path.display()));
    let (file, meta) = plain_file::open(path).map_err(|error| failed(error.to_string()))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(failed(format!(
            "its mode is {mode:04o}, so others have access to it; chmod 0600 it"
        )));
    }
    bounded(file).map_err(failed)
}

fn bounded(from: impl Read) -> std::result::Result<Zeroizing<Vec<u8>>, String> {
    // With its room from the beginning: growing would leave copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    from.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= LIMIT) {
        Ok(bytes)
    } else {
        Err(format!("it has more than {LIMIT} bytes"))
    }
}

/// What a command prints, in bounds of size and time.
fn output(command: &str, timeout: Duration) -> Result<Zeroizing<Vec<u8>>> {
    // Not the command: it may have secrets in it.
    let failed = |why: String| Error::Key(format!("the command for the key failed: {why}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pipe) = child.stdout.take() else { return Err(failed("no output".to_owned())) };
    let (done, outcome) = mpsc::channel();
    // It ends with the pipe at the latest, which the kill below closes.
    std::thread::spawn(move || {
        // Nobody may be there to hear it any more.
        let _ = done.send(bounded(pipe));
    });
    let begun = std::time::Instant::now();
    let text = outcome.recv_timeout(timeout);
    let mut exited = child.try_wait();
    while text.is_ok() && matches!(exited, Ok(None)) && begun.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(2));
        exited = child.try_wait();
    }
    if let (Ok(None), Some(group)) = (&exited, group) {
        // Gone already, perhaps.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait();
        return Err(failed(format!("it was not done after {} s", timeout.as_secs_f32())));
    }
    let status = exited.map_err(|error| failed(error.to_string()))?;
    match (text, status) {
        (Ok(text), Some(status)) if status.success() => text.map_err(failed),
        (_, Some(status)) => Err(failed(status.to_string())),
        (_, None) => Err(failed("it did not end".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::{LIMIT, Secret, generate, output};

    #[test]
    fn a_generated_key_is_read_back_and_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let id = generate(&path).unwrap();
        assert_eq!(Secret::key_file(&path).unwrap().id(), Some(id));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&path).unwrap();
        assert_eq!(generate(&path).unwrap_err().exit_code(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_that_others_can_read_or_that_was_changed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        generate(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let refused = Secret::key_file(&path).err().unwrap().to_string();
            assert!(refused.contains(&format!("{mode:04o}")), "{refused}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let at = text.rfind(':').unwrap() + 3;
        let mut changed = text.into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        std::fs::write(&path, &changed).unwrap();
        assert!(Secret::key_file(&path).err().unwrap().to_string().contains("was changed"));
        std::fs::write(&path, "hello\n").unwrap();
        assert!(Secret::key_file(&path).err().unwrap().to_string().contains("no walmgr key"));
    }

    #[test]
    fn a_command_is_bounded_and_its_failure_said_without_its_text() {
        let patience = Duration::from_secs(60);
        assert_eq!(**output("printf secret", patience).unwrap(), *b"secret");
        let failed = output("echo secret; exit 7", patience).unwrap_err().to_string();
        assert!(failed.contains('7') && !failed.contains("secret"), "{failed}");
        let long = output(&format!("head -c {} /dev/zero", LIMIT + 1), patience).unwrap_err();
        assert!(long.to_string().contains("more than"), "{long}");
        let slow = output("sleep 1000 & sleep 1000", Duration::from_millis(50)).unwrap_err();
        assert!(slow.to_string().contains("not done"), "{slow}");
    }
}
