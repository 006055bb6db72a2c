//! What a command says on standard error.

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::process::ChildStderr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionbio};

/// So much of the end is kept, in bytes.
const KEPT: usize = 1 << 14;

/// So often the pipe is emptied at the end: what is left behind may fill it again and again.
const MAX_LOOKS: usize = 64;

/// How long after the command's end what it has started may go on saying something.
const GRACE: Duration = Duration::from_millis(200);

/// Words of a command that runs. A thread reads them, until everybody has closed the pipe.
pub(super) struct Words {
    said: Arc<Mutex<Said>>,
    /// Closed when there can be no more.
    over: Receiver<()>,
}

/// The pipe, and the end of what came out of it.
struct Said {
    pipe: ChildStderr,
    text: Vec<u8>,
    /// Nobody wants more.
    given_up: bool,
}

/// What a look into the pipe found.
#[derive(PartialEq, Eq)]
enum Found {
    Words,
    Nothing,
    End,
}

impl Words {
    /// Read this pipe.
    ///
    /// # Errors
    /// When it cannot be read without waiting.
    pub(super) fn of(pipe: ChildStderr) -> std::io::Result<Self> {
        ioctl_fionbio(&pipe, true)?;
        let watched = pipe.as_fd().try_clone_to_owned()?;
        let said = Arc::new(Mutex::new(Said { pipe, text: Vec::new(), given_up: false }));
        let (over, is_over) = channel();
        let reader = Arc::clone(&said);
        std::thread::spawn(move || {
            let _over: Sender<()> = over;
            loop {
                match poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) {
                    Ok(_) if lock(&reader).look() == Found::End => return,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return,
                }
            }
        });
        Ok(Self { said, over: is_over })
    }

    /// The command has ended: the end of its words. What it left behind may keep the pipe for ever;
    /// that is not waited for, and may write on.
    pub(super) fn end(self) -> String {
        let _ = self.over.recv_timeout(GRACE);
        let mut said = lock(&self.said);
        // On a busy machine the thread may not have got to the last words.
        for _ in 0..MAX_LOOKS {
            if said.look() != Found::Words {
                break;
            }
        }
        said.given_up = true;
        String::from_utf8_lossy(&std::mem::take(&mut said.text)).into_owned()
    }
}

impl Said {
    fn look(&mut self) -> Found {
        let mut bytes = [0; KEPT];
        match self.pipe.read(&mut bytes) {
            Ok(0) => Found::End,
            Ok(length) => {
                if !self.given_up {
                    self.text.extend(bytes.iter().take(length));
                    let excess = self.text.len().saturating_sub(KEPT);
                    self.text.drain(..excess);
                }
                Found::Words
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Found::Nothing,
                // What was read before an error is better than nothing.
                _ => Found::End,
            },
        }
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, Signal, kill_process_group};

    use super::{KEPT, Words};

    fn words(command: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).process_group(0);
        let mut child = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let group = Pid::from_child(&child);
        let words = Words::of(child.stderr.take().unwrap()).unwrap();
        child.wait().unwrap();
        let words = words.end();
        // What it left behind; the group is not another's while somebody is in it.
        let _ = kill_process_group(group, Signal::KILL);
        words
    }

    #[test]
    fn the_end_of_what_is_said_is_kept() {
        assert_eq!(words(""), "");
        assert_eq!(words("echo one >&2; echo two >&2"), "one\ntwo\n");
        let much = words("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2");
        assert_eq!(much.len(), KEPT);
        assert!(much.ends_with("xend\n"));
    }

    /// Without the limit it ends when the test's runner gives up.
    #[test]
    fn what_is_left_behind_is_not_waited_for() {
        assert_eq!(words("echo said >&2; sleep 3600 & true"), "said\n");
        assert!(words("while echo again; do :; done >&2 & true").len() <= KEPT);
    }
}
