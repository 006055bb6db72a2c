//! Fetching ahead: while PostgreSQL replays one segment, the next ones are brought to the spool,
//! verified, and handed over by rename.
//!
//! Only what is there is remembered. That a file is absent is asked of the archive each time, so
//! that the answer has its authority.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use walmgr_protocol::SPOOL;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::wal::Fetched;
use crate::repositories::fetch;
use crate::wal::name::{Segment, WalName};

/// Fetches WAL files by several threads.
pub(crate) struct Prefetcher {
    context: Context,
    spool: PathBuf,
    ahead: usize,
    serial: AtomicU32,
    segment_size: OnceLock<u32>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<String>,
    segments: BTreeMap<String, Job>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    Pending,
    Ready,
}

impl Prefetcher {
    /// A prefetcher with a spool directory that is emptied first, in the file system of the data
    /// directory.
    ///
    /// # Errors
    /// [`Error::Local`].
    pub(crate) fn new(context: Context, data: &Path, ahead: usize) -> Result<Self> {
        let spool = data.join(SPOOL);
        let what = || Error::local(format!("create {}", spool.display()));
        match fs::remove_dir_all(&spool) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(what()(error));
            }
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&spool).map_err(what())?;
        Ok(Self {
            context,
            spool,
            ahead,
            serial: AtomicU32::new(0),
            segment_size: OnceLock::new(),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        })
    }

    /// Bring a file into the spool, under a name that nobody else uses.
    pub(crate) fn get(&self, name: &str) -> Result<(Fetched, PathBuf)> {
        let parsed = WalName::parse(name)?;
        let place =
            self.spool.join(format!("{name}.{}", self.serial.fetch_add(1, Ordering::Relaxed)));
        let fetched =
            if self.take(name, &place) { Fetched::Delivered } else { self.fetch(&parsed, &place)? };
        if fetched == Fetched::Delivered
            && let Err(error) = self.look_ahead(name)
        {
            log::debug(format_args!("nothing is fetched ahead: {error}"));
        }
        Ok((fetched, place))
    }

    /// What each thread does, for ever.
    pub(crate) fn work(&self) {
        let mut state = self.state();
        loop {
            let Some(name) = state.queue.pop_front() else {
                state = self.wait(state);
                continue;
            };
            drop(state);
            let place = self.spool.join(&name);
            let fetched = WalName::parse(&name).and_then(|parsed| self.fetch(&parsed, &place));
            state = self.state();
            match state.segments.get_mut(&name) {
                Some(job) if matches!(fetched, Ok(Fetched::Delivered)) => *job = Job::Ready,
                // Whatever it is will show, with its proper answer, when PostgreSQL asks.
                Some(_) => {
                    state.segments.remove(&name);
                }
                // Forgotten meanwhile: nobody will ask.
                None => {
                    let _ = fs::remove_file(&place);
                }
            }
            self.changed.notify_all();
        }
    }

    /// Hand over a segment from the spool, waiting for it when it is on its way.
    fn take(&self, name: &str, path: &Path) -> bool {
        let mut state = self.state();
        loop {
            match state.segments.get(name) {
                Some(Job::Pending) => state = self.wait(state),
                Some(Job::Ready) => {
                    state.segments.remove(name);
                    return fs::rename(self.spool.join(name), path).is_ok();
                }
                None => return false,
            }
        }
    }

    fn look_ahead(&self, name: &str) -> Result<()> {
        let size = self.segment_size()?;
        let Some(mut segment) = Segment::parse(name, size) else { return Ok(()) };
        let mut wanted = Vec::new();
        for _ in 0..self.ahead {
            segment = segment.next();
            wanted.push(segment.name(size));
        }
        let mut state = self.state();
        let stale: Vec<String> = state
            .segments
            .iter()
            .filter(|(name, job)| **job == Job::Ready && !wanted.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stale {
            state.segments.remove(&name);
            // An orphan in the spool costs space until the next start.
            let _ = fs::remove_file(self.spool.join(name));
        }
        for name in wanted {
            if !state.segments.contains_key(&name) {
                state.segments.insert(name.clone(), Job::Pending);
                state.queue.push_back(name);
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    /// The cluster's, which never changes while a server is in recovery: asked once.
    fn segment_size(&self) -> Result<u32> {
        if let Some(size) = self.segment_size.get() {
            return Ok(*size);
        }
        let opened = |one: &Context| one.stanza_of(self.spool.parent());
        let size = fetch::first(&self.context, opened)?.info.wal_segment_size;
        Ok(*self.segment_size.get_or_init(|| size))
    }

    fn fetch(&self, name: &WalName, path: &Path) -> Result<Fetched> {
        fetch::fetch(&self.context, self.spool.parent(), name, path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}
