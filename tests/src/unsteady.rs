//! `PGQ_WALMGR=two`: every walmgr test also with a second repository, which is not required and
//! fails at random. What a test says of its repository must hold all the same.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Random;

/// A directory that can be used now and then, and that sites share which share the first
/// repository.
pub(crate) struct Unsteady {
    directory: PathBuf,
    /// Of the site that had it first.
    flipping: Option<Flipping>,
}

/// By what configurations say of the first one's place.
static ALL: Mutex<BTreeMap<String, Option<PathBuf>>> = Mutex::new(BTreeMap::new());

struct Flipping {
    /// A command that made the stanza has ended.
    begun: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Unsteady {
    /// The one beside the repository that these lines of configuration name; else a new one, in a
    /// cluster's directory. It is steady until [`Self::begin`]. None where there shall be none.
    pub(crate) fn new(cluster: &Path, place: &str) -> Option<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let own = cluster.join("second");
        match all.get(place) {
            Some(None) => return None,
            // A site that is no more has left its name.
            Some(Some(directory)) if *directory != own && directory.exists() => {
                return Some(Self { directory: directory.clone(), flipping: None });
            }
            _ => all.insert(place.to_owned(), Some(own.clone())),
        };
        let (begun, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut random = Random::for_test("the second repository");
        let (place, is_begun, is_stopped) = (own.clone(), Arc::clone(&begun), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut is_away = false;
            while !is_stopped.load(Ordering::Relaxed) {
                // Pace: of failures that a command may meet anywhere.
                std::thread::sleep(Duration::from_millis(20 + random.below(200)));
                if is_begun.load(Ordering::Relaxed) {
                    is_away = !is_away;
                    let mode = if is_away { 0 } else { 0o700 };
                    // It may be gone with the test.
                    let _ = fs::set_permissions(&place, Permissions::from_mode(mode));
                }
            }
            let _ = fs::set_permissions(&place, Permissions::from_mode(0o700));
        });
        Some(Self { directory: own, flipping: Some(Flipping { begun, stop, thread }) })
    }

    /// There shall be none beside the repository that these lines of configuration name.
    pub(crate) fn forbid(place: &str) {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(place.to_owned(), None);
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command has ended: once there is a stanza, it may fail.
    pub(crate) fn begin(&self) {
        if let Some(flipping) = &self.flipping
            && self.directory.join("main/stanza.json").exists()
        {
            flipping.begun.store(true, Ordering::Relaxed);
        }
    }

    /// Arguments that keep a verb to the first repository whose answer is each repository's own.
    /// WAL goes to both and comes from both.
    pub(crate) fn leave_out<'a>(
        &self,
        args: impl Iterator<Item = &'a str>,
    ) -> &'static [&'static str] {
        let words: Vec<&str> = args.collect();
        let is = |verbs: &[&str]| words.iter().any(|word| verbs.contains(word));
        // The first set-up makes the stanza in both.
        let makes = is(&["setup"]) && !self.directory.join("main/stanza.json").exists();
        let both = ["archive-push", "archive-get", "xarchive", "xrestore", "daemon"];
        let neither = ["init", "completions", "man", "remote-store", "--repo"];
        if makes || is(&both) || is(&neither) { &[] } else { &["--repo", "main"] }
    }
}

impl Drop for Unsteady {
    fn drop(&mut self) {
        if let Some(Flipping { stop, thread, .. }) = self.flipping.take() {
            stop.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }
}

/// The lines of a configuration with `repository.KEY` in them, as one with two tables.
pub(crate) fn with_second(place: &str, more: &str, second: &Path) -> String {
    let all = || place.lines().chain(more.lines());
    let of_repository = |line: &&str| line.starts_with("repository.");
    let others: Vec<&str> = all().filter(|line| !of_repository(line)).collect();
    let keys = all().filter(of_repository).map(|line| &line["repository.".len()..]);
    let keys: Vec<&str> = keys.collect();
    format!(
        "{}\n[[repository]]\nname = 'main'\n{}\n\
         [[repository]]\nname = 'second'\nrequired = false\npatience = '200ms'\npath = '{}'\n",
        others.join("\n"),
        keys.join("\n"),
        second.display()
    )
}
