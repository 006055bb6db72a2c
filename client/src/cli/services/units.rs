//! `pgq units`: what the package's generator runs, so that systemd and `pgq services` know the same
//! jobs.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pgq_client::{Error, read_ini};
use pgq_ini::Ini;

use super::registry;
use super::systemd::Unit;
use crate::cli::output::complain;
use crate::cli::{Exit, Global};

/// The unit of all jobs.
const TEMPLATE: &str = "/lib/systemd/system/skytools@.service";

/// Link the services of jobs that are not disabled into a directory, as systemd's generators do.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Units {
    /// The registry
    ini: PathBuf,
    /// The generator's first directory
    directory: PathBuf,
}

impl Units {
    pub(in crate::cli) fn run(self, _: &Global) -> anyhow::Result<Exit> {
        let registry = match read_ini(&self.ini) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Ok(Ini::parse(&self.ini, "[scriptmgr]\n")?)
            }
            other => other,
        }?;
        let found = registry::find(&registry)?;
        let mut units: Vec<Unit> = Vec::new();
        let mut exit = Exit::Ok;
        units.extend(found.jobs.into_iter().filter(|job| !job.disabled).filter_map(|job| job.unit));
        // Its service fails, and says why, where administrators look for it.
        for (path, error) in found.broken {
            complain(&error.into());
            exit = Exit::Usage;
            units.extend(Unit::of(&path).ok().flatten());
        }
        let wants = self.directory.join("skytools.target.wants");
        for unit in units {
            link(&wants, unit.name())?;
        }
        Ok(exit)
    }
}

fn link(wants: &Path, name: &str) -> Result<(), Error> {
    let path = wants.join(name);
    let made = fs::create_dir_all(wants).and_then(|()| symlink(TEMPLATE, &path));
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|source| Error::Io { path, source }),
    }
}
