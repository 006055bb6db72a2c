//! `PGQ_WALMGR=two`: every walmgr test also with a second repository, which is not required and
//! fails at random. What a test says of its repository must hold all the same.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Random;

/// A directory that can be used now and then.
pub(crate) struct Unsteady {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    flipping: Option<JoinHandle<()>>,
}

impl Unsteady {
    /// One below a cluster's directory. It is steady until there is a stanza in it.
    pub(crate) fn new(cluster: &Path) -> Self {
        let directory = cluster.join("second");
        let stop = Arc::new(AtomicBool::new(false));
        let mut random = Random::for_test("the second repository");
        let (place, stopped) = (directory.clone(), Arc::clone(&stop));
        let flipping = std::thread::spawn(move || {
            let mut is_away = false;
            while !stopped.load(Ordering::Relaxed) {
                // Pace: of failures that a command may meet anywhere.
                std::thread::sleep(Duration::from_millis(20 + random.below(200)));
                if is_away || place.join("main/stanza.json").exists() {
                    is_away = !is_away;
                    let mode = if is_away { 0 } else { 0o700 };
                    // It may be gone with the test.
                    let _ = fs::set_permissions(&place, Permissions::from_mode(mode));
                }
            }
            let _ = fs::set_permissions(&place, Permissions::from_mode(0o700));
        });
        Self { directory, stop, flipping: Some(flipping) }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
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
        self.stop.store(true, Ordering::Relaxed);
        if let Some(flipping) = self.flipping.take() {
            let _ = flipping.join();
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
