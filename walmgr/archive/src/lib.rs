//! `archive_library = 'walmgr_archive'`: PostgreSQL's archiver asks the walmgr daemon itself,
//! without a process for each WAL file.
//!
//! Without a daemon that answers, the archiver runs `walmgr archive-push`, so walmgr's promises
//! hold either way: success means that the file is durable in the repository.
#![deny(unsafe_code)]

mod daemon;
mod module;
mod wait;

use std::ffi::CString;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

use daemon::Answer;
use wait::Waiter;

pgq_pg::library!(define_settings);

static CONFIG: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static PROGRAM: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"walmgr"));

fn define_settings() {
    GucRegistry::define_string_guc(
        c"walmgr_archive.config",
        c"Sets the configuration file of walmgr.",
        c"Archiving waits until it is set. The daemon answers only for its own.",
        &CONFIG,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    GucRegistry::define_string_guc(
        c"walmgr_archive.program",
        c"Sets the path of walmgr.",
        c"It is run when no daemon answers. Without a slash it is looked for in PATH.",
        &PROGRAM,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY,
    );
    pgq_pg::guc::reserve_prefix(c"walmgr_archive");
}

/// The configuration file; `None` when it is not set.
fn config() -> Option<String> {
    text(&CONFIG).filter(|config| !config.is_empty())
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    setting.get()?.into_string().ok()
}

/// Archive one WAL file, given by its name and its path from the data directory, which is the
/// current one: true when it is stored.
///
/// A failure is told as a warning; the archiver counts it and tries again.
fn archive(name: &str, path: &str) -> bool {
    let Some(config) = config() else { return false };
    match daemon::push(&config, name, Path::new(path)) {
        Some(Answer::Stored) => true,
        Some(Answer::Failed(why)) => {
            pgrx::warning!("walmgr: {why}");
            false
        }
        None => push_without_daemon(&config, path),
    }
}

fn push_without_daemon(config: &str, path: &str) -> bool {
    let program = text(&PROGRAM).unwrap_or_default();
    // Its messages go where the server's go.
    let child = Command::new(&program).args(["--config", config, "archive-push", path]).spawn();
    match child.and_then(wait_for) {
        Ok(status) if status.success() => true,
        Ok(status) => {
            pgrx::warning!("walmgr could not archive \"{path}\": {status}");
            false
        }
        Err(error) => {
            pgrx::warning!(
                "could not run \"{program}\" (walmgr_archive.program), and no daemon answers: {error}"
            );
            false
        }
    }
}

/// Wait for a program to end. It has its own limits, so this has none.
fn wait_for(mut child: Child) -> std::io::Result<ExitStatus> {
    let mut waiter = Waiter::new(Duration::MAX);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        // Its end sets no latch that would wake this.
        waiter.wait(None, Duration::from_millis(2));
    }
}
