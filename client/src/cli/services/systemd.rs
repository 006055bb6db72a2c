//! Services that systemd keeps: `/etc/skytools/JOB.ini` is `skytools@JOB`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgq_client::Error;
use rustix::process::Pid;

/// Where the unit `skytools@` looks for INI files.
const JOBS: &str = "/etc/skytools";
/// Another directory in its place, for tests of the generator.
const JOBS_VARIABLE: &str = "SKYTOOLS_JOBS";
/// Exists where systemd is the first process: sd_booted(3).
const BOOTED: &str = "/run/systemd/system";
/// Longest name of a unit.
const MAX_NAME: usize = 255;

/// The service of one INI file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit(String);

/// What systemd knows about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The service's process; none while it waits for a restart.
    pub(super) pid: Option<Pid>,
    /// Neither running nor about to.
    pub(super) over: bool,
    pub(super) failed: bool,
}

impl Unit {
    /// The service that a file is of by its place and name. None for files elsewhere.
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no service can have.
    pub(super) fn of(ini: &Path) -> Result<Option<Self>, Error> {
        let jobs = std::env::var_os(JOBS_VARIABLE).map_or_else(|| JOBS.into(), PathBuf::from);
        let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a == b,
            _ => false,
        };
        if !ini.parent().is_some_and(|parent| same(parent, &jobs)) {
            return Ok(None);
        }
        let name = ini.file_name().and_then(|name| name.to_str());
        match name.and_then(|name| name.strip_suffix(".ini")).and_then(Self::named) {
            Some(unit) => Ok(Some(unit)),
            None => Err(Error::Config(format!(
                "{}: not a service of systemd: its name may have letters, digits and \":_.-\", and \
                 ends in .ini",
                ini.display()
            ))),
        }
    }

    fn named(job: &str) -> Option<Self> {
        let allowed = |char: char| char.is_ascii_alphanumeric() || ":_.-".contains(char);
        let name = format!("skytools@{job}.service");
        let fits = !job.is_empty() && job.chars().all(allowed) && name.len() <= MAX_NAME;
        fits.then_some(Self(name))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// What systemd knows about it. None where there is no systemd, or no unit `skytools@`.
    ///
    /// # Errors
    /// [`Error::Config`] when systemd does not answer.
    pub(super) fn state(&self) -> Result<Option<State>, Error> {
        if !Path::new(BOOTED).exists() {
            return Ok(None);
        }
        let properties = "--property=LoadState,ActiveState,MainPID";
        let output = match Command::new("systemctl").args(["show", properties, &self.0]).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| Error::Io { path: "systemctl".into(), source })?,
        };
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Config(format!("{}: systemctl: {}", self.0, words.trim())));
        }
        Ok(state(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Have systemd do something with it. What it complains about is on standard error.
    pub(super) fn order(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new("systemctl");
        let status = command.arg("--no-ask-password").args(words).arg(&self.0).status()?;
        if !status.success() {
            anyhow::bail!("systemctl {} {}: {status}", words.join(" "), self.0);
        }
        Ok(())
    }
}

/// From what `systemctl show` prints.
fn state(shown: &str) -> Option<State> {
    let value = |name: &str| {
        shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    if matches!(value("LoadState"), "not-found" | "") {
        return None;
    }
    let active = value("ActiveState");
    Some(State {
        pid: value("MainPID").parse().ok().and_then(Pid::from_raw),
        over: matches!(active, "inactive" | "failed"),
        failed: active == "failed",
    })
}

#[cfg(test)]
mod tests {
    use super::{State, Unit, state};
    use rustix::process::Pid;

    #[test]
    fn names_are_those_that_need_no_escaping() {
        for job in ["orders", "a-b", "a.b_c:d", "9"] {
            assert_eq!(Unit::named(job).unwrap().name(), format!("skytools@{job}.service"));
        }
        let long = "x".repeat(250);
        for job in ["", "a b", "a@b", "a/b", "ä", "a%n", "a\\x2d", "a$b", long.as_str()] {
            assert_eq!(Unit::named(job), None, "{job}");
        }
    }

    #[test]
    fn what_systemctl_shows_is_understood() {
        let shown = |load: &str, active: &str, pid: &str| {
            state(&format!("LoadState={load}\nActiveState={active}\nMainPID={pid}\n"))
        };
        assert_eq!(shown("not-found", "inactive", "0"), None);
        assert_eq!(state(""), None);
        let runs = State { pid: Pid::from_raw(17), over: false, failed: false };
        for active in ["active", "reloading", "deactivating"] {
            assert_eq!(shown("loaded", active, "17"), Some(runs));
        }
        let none = State { pid: None, ..runs };
        assert_eq!(shown("loaded", "activating", "0"), Some(none));
        assert_eq!(shown("loaded", "inactive", "0"), Some(State { over: true, ..none }));
        let failed = State { over: true, failed: true, ..none };
        assert_eq!(shown("loaded", "failed", "0"), Some(failed));
        assert_eq!(shown("masked", "inactive", "0"), Some(State { over: true, ..none }));
    }
}
