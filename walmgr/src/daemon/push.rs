//! Pushing ahead: while PostgreSQL waits for one file, the next ones that are `.ready` are stored
//! too.
//!
//! A file is acknowledged only when PostgreSQL asks for it, and only if what lies at its path is
//! still the very file that was stored: same inode, size and time. Otherwise it goes through
//! [`wal::push`](crate::repo::wal::push) again, which compares content.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::control;
use crate::repo::stanza::Stanza;
use crate::repo::wal::Pushed;
use crate::repositories::backlog::Backlog;
use crate::repositories::push;
use crate::wal::file::WalFile;
use crate::wal::name::WalName;

/// Most bytes, and most files, that one thread stores at a time where they share syncs: enough for
/// small segments, and not so much that PostgreSQL would wait noticeably longer for the first of
/// them.
const TOGETHER: (u32, u32) = (8 << 20, 8);
/// Most files that all threads store at a time. Each takes three descriptors, of which a process
/// may have 1,024 as a rule.
const OPEN: usize = 256;

/// Stores WAL files by several threads.
pub(crate) struct Pusher {
    context: Context,
    ahead: usize,
    jobs: usize,
    together: usize,
    /// What repositories lack that are not required.
    backlogs: Vec<Arc<Backlog>>,
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
    /// PostgreSQL waits for these.
    asked: VecDeque<WalFile>,
    /// It is going to ask for these.
    queue: VecDeque<WalFile>,
    jobs: HashMap<WalFile, Job>,
    /// Acknowledged, but perhaps still `.ready`: PostgreSQL renames that after the client has
    /// ended. To be spared the work of storing them again, no more: a list of files may be older
    /// than this.
    answered: HashSet<WalFile>,
}

enum Job {
    /// In the queue, or a thread is at it.
    Pending,
    /// Stored.
    Stored(Identity),
    /// Failed: the answer to who asked for it, nothing to who comes later.
    Failed(u8, String),
}

/// The exit code and message of a failure.
type Outcome = std::result::Result<(), (u8, String)>;

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
    /// A pusher that stores up to `ahead` files of the stanza before they are asked for, by `jobs`
    /// threads.
    pub(crate) fn new(
        context: Context,
        stanza: &Stanza,
        backlogs: Vec<Arc<Backlog>>,
        ahead: usize,
        jobs: usize,
    ) -> Self {
        let (bytes, files) = TOGETHER;
        let files = if stanza.store.shares_syncs() { files } else { 1 };
        let most = (bytes / stanza.info.wal_segment_size).clamp(1, files);
        let together = usize::try_from(most).unwrap_or(1).min((OPEN / jobs).max(1));
        let (work, settled) = (Condvar::new(), Condvar::new());
        let state = Mutex::new(State::default());
        Self { context, ahead, jobs, together, backlogs, state, work, settled }
    }

    /// Store a file, or find that it is stored; `None` when that takes longer than a client waits.
    pub(crate) fn push(&self, file: &WalFile, patience: Duration) -> Option<Outcome> {
        let end = Instant::now() + patience;
        let mut state = self.state();
        // A failure that began before this request may be of a file or a repository that is mended
        // by now.
        let mut asked = false;
        loop {
            match state.jobs.get(file) {
                Some(Job::Pending) => {
                    let left = end.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.settled.wait_timeout(state, left);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Some(Job::Stored(identity)) => {
                    let same = Identity::of(&file.path) == Some(*identity);
                    state.jobs.remove(file);
                    if state.jobs.len() <= self.ahead / 2 {
                        state.refill = Some(file.path.clone());
                        self.work.notify_one();
                    }
                    if same {
                        state.answered.insert(file.clone());
                        return Some(Ok(()));
                    }
                }
                Some(Job::Failed(code, message)) => {
                    let failure = (*code, message.clone());
                    state.jobs.remove(file);
                    if asked {
                        return Some(Err(failure));
                    }
                }
                None => {
                    asked = true;
                    state.jobs.insert(file.clone(), Job::Pending);
                    state.asked.push_back(file.clone());
                    self.work.notify_one();
                }
            }
        }
    }

    /// What each thread does, for ever.
    pub(crate) fn work(&self) {
        let mut state = self.state();
        loop {
            let files = self.take(&mut state);
            let Some(first) = files.first() else {
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
            self.look_ahead(&first.path);
            let before: Vec<_> = files.iter().map(|file| Identity::of(&file.path)).collect();
            let outcomes = self.store(&files);
            state = self.state();
            for ((file, before), outcome) in files.into_iter().zip(before).zip(outcomes) {
                let job = match (outcome, before) {
                    (Ok(()), Some(identity)) => Job::Stored(identity),
                    (Ok(()), None) => Job::Failed(8, format!("{} vanished", file.path.display())),
                    (Err((code, message)), _) => Job::Failed(code, message),
                };
                state.jobs.insert(file, job);
            }
            self.settled.notify_all();
        }
    }

    /// Take what one thread does next: a file that is waited for, else its share of the others.
    fn take(&self, state: &mut State) -> Vec<WalFile> {
        if let Some(file) = state.asked.pop_front() {
            return vec![file];
        }
        let share = state.queue.len().div_ceil(self.jobs).min(self.together);
        state.queue.drain(..share).collect()
    }

    /// Store files; of each that is not stored the exit code and the message.
    fn store(&self, files: &[WalFile]) -> Vec<Outcome> {
        let failure = |error: &Error| (error.exit_code(), error.to_string());
        match self.try_store(files) {
            Ok(outcomes) => {
                outcomes.iter().map(|one| one.as_ref().map(drop).map_err(failure)).collect()
            }
            Err(error) => vec![Err(failure(&error)); files.len()],
        }
    }

    fn try_store(&self, files: &[WalFile]) -> Result<Vec<Result<Pushed>>> {
        let directories: BTreeSet<_> =
            files.iter().filter_map(|file| file.path.parent()?.parent()).collect();
        let mut systems = Vec::new();
        for data in directories {
            systems.extend(control::system_identifier(data)?);
        }
        let outcomes = push::required(&self.context, &systems, files)?;
        for (file, outcome) in files.iter().zip(&outcomes) {
            if outcome.is_ok() {
                self.backlogs.iter().for_each(|backlog| backlog.add(&file.name));
            }
        }
        Ok(outcomes)
    }

    /// Queue files that PostgreSQL is going to ask for. Only reads its status directory; what goes
    /// wrong here shows when it asks.
    fn look_ahead(&self, path: &Path) {
        let Some(directory) = path.parent() else { return };
        {
            let state = self.state();
            if !state.queue.is_empty() || state.jobs.len() > self.ahead {
                return;
            }
        }
        let Ok(entries) = std::fs::read_dir(directory.join("archive_status")) else { return };
        let mut files: Vec<WalFile> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| WalFile::at(directory.join(name.strip_suffix(".ready")?)).ok())
            .collect();
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        let mut state = self.state();
        let ready: HashSet<&WalName> = files.iter().map(|file| &file.name).collect();
        // Stored ahead, and then never asked for: the server was stopped, or another command
        // archived them.
        state.jobs.retain(|file, job| matches!(job, Job::Pending) || ready.contains(&file.name));
        state.answered.retain(|file| ready.contains(&file.name));
        for file in &files {
            if state.jobs.len() > self.ahead {
                break;
            }
            if !state.jobs.contains_key(file) && !state.answered.contains(file) {
                state.jobs.insert(file.clone(), Job::Pending);
                state.queue.push_back(file.clone());
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
