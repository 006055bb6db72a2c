//! The registry: which jobs there are, by the INI files of `config_list`.

use std::path::{Path, PathBuf};

use pgq_client::{Error, read_ini};
use pgq_ini::Ini;

use super::job::Job;
use super::kind::Kind;
use super::systemd::Unit;
use crate::cli::patterns::expand;
use crate::cli::service::is_service;

/// Jobs, and files that cannot be read: those must not be in the way of others.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<Job>,
    pub(super) broken: Vec<(PathBuf, Error)>,
}

/// All jobs of the files in config_list. A file without any service is said, and left out.
///
/// # Errors
/// When something is wrong in the registry itself, or a directory of `config_list` cannot be read.
pub(super) fn read(path: &Path) -> Result<Found, Error> {
    find(&read_ini(path)?)
}

/// See [`read`].
pub(super) fn find(registry: &Ini) -> Result<Found, Error> {
    let mut manager = registry.section("scriptmgr")?;
    let mut patterns = manager.list("config_list")?;
    if patterns.is_empty() {
        patterns.push("/etc/skytools/*.ini".to_owned());
    }
    // All of them, so that a mistake in one is not taken for one in a job's file.
    let kinds = registry.section_names().map(|name| Kind::read(&mut registry.section(name)?));
    let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
    let mut found = Found::default();
    for pattern in &patterns {
        for path in expand(pattern)? {
            match read_ini(&path).and_then(|ini| jobs_of(&kinds, &ini)) {
                Ok(jobs) => found.jobs.extend(jobs),
                Err(error) => found.broken.push((path, error)),
            }
        }
    }
    Ok(found)
}

/// The jobs of one file.
fn jobs_of(kinds: &[Kind], ini: &Ini) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    if ini.section_names().any(|name| name == "scriptmgr") {
        return Ok(jobs);
    }
    for name in ini.section_names() {
        let kind = match kinds.iter().find(|kind| kind.name == name) {
            Some(kind) => kind.clone(),
            None if is_service(name) => Kind { name: name.to_owned(), ..Kind::default() },
            None => continue,
        };
        let mut section = ini.section(name)?;
        jobs.push(Job {
            name: section.require("job_name")?,
            ini: ini.path().to_owned(),
            pidfile: section.file("pidfile")?,
            disabled: section.boolean("disabled")?.unwrap_or(false) || kind.disabled,
            // A file has one unit, which is for the first: it is what `pgq run FILE` runs.
            unit: if jobs.is_empty() { unit(ini.path()) } else { None },
            kind,
        });
    }
    if jobs.is_empty() {
        log::warn!("{}: no section is a known service", ini.path().display());
    }
    Ok(jobs)
}

/// The file's unit; a name that none can have is said.
fn unit(ini: &Path) -> Option<Unit> {
    Unit::of(ini).unwrap_or_else(|error| {
        log::warn!("{error}");
        None
    })
}
