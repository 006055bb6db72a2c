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
            match read_ini(&path).and_then(|ini| jobs_of(registry, &kinds, &ini)) {
                Ok(jobs) => found.jobs.extend(jobs),
                Err(error) => found.broken.push((path, error)),
            }
        }
    }
    Ok(found)
}

/// The jobs of one file.
fn jobs_of(registry: &Ini, kinds: &[Kind], ini: &Ini) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    if ini.section_names().any(|name| name == "scriptmgr") {
        return Ok(jobs);
    }
    for name in ini.section_names() {
        let kind = match kinds.iter().find(|kind| kind.name == name) {
            Some(kind) => kind.clone(),
            None if is_service(name) => Kind::read(&mut registry.section_or_default(name)?)?,
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use pgq_ini::Ini;

    use super::find;

    #[test]
    fn a_kind_without_a_section_is_as_the_defaults_say() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mover.ini"), "[queue_mover3]\n").unwrap();
        std::fs::write(dir.path().join("loader.ini"), "[queue_loader]\n").unwrap();
        let text = format!(
            "[scriptmgr]\nconfig_list = {}/*.ini\n[queue_loader]\nuser = own\ndisabled = 0\n\
             [DEFAULT]\ndisabled = 1\nuser = joe\ncwd = /tmp/%(service_name)s\nargs = -v\n",
            dir.path().display()
        );
        let registry = Ini::parse(Path::new("skytools.ini"), &text).unwrap();
        let found = find(&registry).unwrap();
        assert!(found.broken.is_empty());
        let [loader, mover] = found.jobs.try_into().unwrap();
        assert_eq!((loader.kind.user.as_deref(), loader.disabled), (Some("own"), false));
        assert_eq!((mover.kind.user.as_deref(), mover.disabled), (Some("joe"), true));
        assert_eq!(mover.kind.name, "queue_mover3");
        assert_eq!(mover.kind.cwd.unwrap(), Path::new("/tmp/queue_mover3"));
        assert_eq!(mover.kind.args, "-v");
    }
}
