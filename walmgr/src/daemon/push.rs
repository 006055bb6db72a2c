//! Pushing ahead: while PostgreSQL waits for one file, the next ones that are `.ready` are stored too.
//!
//! A file is acknowledged only when PostgreSQL asks for it, and only if what lies at its path is still the very file that was
//! stored: same inode, size and time. Otherwise it goes through [`wal::push`] again, which compares content.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::control;
use crate::repo::wal;
use crate::wal::name::WalName;

/// Stores WAL files by several threads.
pub(crate) struct Pusher {
    context: Context,
    ahead: usize,
    state: Mutex<State>,
    /// There is something for a thread to do.
    work: Condvar,
    /// A file is stored, or has failed.
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// Half of what was stored ahead is used up: look from here again.
    refill: Option<PathBuf>,
    queue: VecDeque<PathBuf>,
    jobs: HashMap<PathBuf, Job>,
}

enum Job {
    /// In the queue, or a thread is at it.
    Pending,
    /// Stored.
    Stored(Identity),
    /// Failed: the answer to who asked for it, nothing to who comes later.
    Failed(u8, String),
}

/// Which file it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(path: &Path) -> Option<Self> {
        let meta = path.metadata().ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        })
    }
}

impl Pusher {
    /// A pusher that stores up to `ahead` files before they are asked for.
    pub(crate) fn new(context: Context, ahead: usize) -> Self {
        let (work, settled) = (Condvar::new(), Condvar::new());
        Self { context, ahead, state: Mutex::new(State::default()), work, settled }
    }

    /// Store a file, or find that it is stored. The exit code and message of a failure.
    pub(crate) fn push(&self, path: &Path) -> std::result::Result<(), (u8, String)> {
        let mut state = self.state();
        // A failure that began before this request may be of a file or a repository that is mended by now.
        let mut asked = false;
        loop {
            match state.jobs.get(path) {
                Some(Job::Pending) => state = wait(&self.settled, state),
                Some(Job::Stored(identity)) => {
                    let same = Identity::of(path) == Some(*identity);
                    state.jobs.remove(path);
                    if state.jobs.len() <= self.ahead / 2 {
                        state.refill = Some(path.to_owned());
                        self.work.notify_one();
                    }
                    if same {
                        return Ok(());
                    }
                }
                Some(Job::Failed(code, message)) => {
                    let failure = (*code, message.clone());
                    state.jobs.remove(path);
                    if asked {
                        return Err(failure);
                    }
                }
                None => {
                    asked = true;
                    state.jobs.insert(path.to_owned(), Job::Pending);
                    state.queue.push_front(path.to_owned());
                    self.work.notify_one();
                }
            }
        }
    }

    /// What each thread does, for ever.
    pub(crate) fn work(&self) {
        let mut state = self.state();
        loop {
            let Some(path) = state.queue.pop_front() else {
                state = match state.refill.take() {
                    Some(path) => {
                        drop(state);
                        self.look_ahead(&path);
                        self.state()
                    }
                    None => wait(&self.work, state),
                };
                continue;
            };
            drop(state);
            self.look_ahead(&path);
            let before = Identity::of(&path);
            let outcome = self.store(&path);
            state = self.state();
            let job = match (outcome, before) {
                (Ok(()), Some(identity)) => Job::Stored(identity),
                (Ok(()), None) => Job::Failed(8, format!("{} vanished", path.display())),
                (Err(error), _) => Job::Failed(error.exit_code(), error.to_string()),
            };
            state.jobs.insert(path, job);
            self.settled.notify_all();
        }
    }

    fn store(&self, path: &Path) -> Result<()> {
        let name =
            WalName::parse(path.file_name().and_then(|name| name.to_str()).unwrap_or_default())?;
        let stanza = self.context.stanza()?;
        let data = path.parent().and_then(Path::parent);
        if let Some(identifier) = data.map(control::system_identifier).transpose()?.flatten() {
            stanza.check_system(identifier)?;
        }
        wal::push(&stanza, &name, path, self.context.config.codec()).map(|_| ())
    }

    /// Queue files that PostgreSQL is going to ask for. Only reads its status directory; what goes wrong here shows when it asks.
    fn look_ahead(&self, path: &Path) {
        let Some(directory) = path.parent() else { return };
        {
            let state = self.state();
            if !state.queue.is_empty() || state.jobs.len() > self.ahead {
                return;
            }
        }
        let Ok(entries) = std::fs::read_dir(directory.join("archive_status")) else { return };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".ready").map(str::to_owned))
            .filter(|name| WalName::parse(name).is_ok())
            .collect();
        names.sort_unstable();
        let mut state = self.state();
        // Stored ahead, and then never asked for: the server was stopped, or another command archived them.
        state.jobs.retain(|path, job| match job {
            Job::Stored(_) | Job::Failed(..) => names.iter().any(|name| path.ends_with(name)),
            Job::Pending => true,
        });
        for name in names {
            let path = directory.join(&name);
            if state.jobs.len() > self.ahead {
                break;
            }
            if !state.jobs.contains_key(&path) {
                state.jobs.insert(path.clone(), Job::Pending);
                state.queue.push_back(path);
            }
        }
        log::debug(format_args!("{} files in work", state.jobs.len()));
        self.work.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait<'a>(event: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    event.wait(state).unwrap_or_else(PoisonError::into_inner)
}
