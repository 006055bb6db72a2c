//! `pgq units`: what the package's generator runs, so that systemd and `pgq services` know the same
//! jobs.

use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use pgq_client::{Error, read_ini};
use pgq_ini::Ini;

use super::job::Job;
use super::registry;
use super::systemd::Unit;
use crate::cli::output::complain;
use crate::cli::{Exit, Global};

/// The unit of all jobs, and what it says.
const TEMPLATE: &str = "/lib/systemd/system/skytools@.service";
const PGQ: &str = "/usr/bin/pgq";
const DIRECTORY: &str = "/var/lib/skytools";
const USER: &str = "skytools";

/// SIGHUP for a script that has a handler for it: others would die of it. `$$` is a unit's `$`.
const RELOAD_SCRIPT: &str = "grep -q \"^SigCgt:.*[13579bdf]$$\" /proc/$$MAINPID/status || exit 0; \
                             kill -HUP $$MAINPID";

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
        let mut exit = Exit::Ok;
        // Its service fails, and says why, where administrators look for it.
        for (path, error) in found.broken {
            complain(&error.into());
            exit = Exit::Usage;
            if let Ok(Some(unit)) = Unit::of(&path) {
                self.want(&unit)?;
            }
        }
        for job in &found.jobs {
            let Some(unit) = &job.unit else { continue };
            // Also of what is disabled: somebody may start it by hand.
            match drop_in(job) {
                Ok(Some(text)) => self.write(&format!("{}.d/registry.conf", unit.name()), &text)?,
                Ok(None) => {}
                // Without what the registry says it would be another service.
                Err(error) => {
                    complain(&error.into());
                    exit = Exit::Usage;
                    continue;
                }
            }
            if !job.disabled {
                self.want(unit)?;
            }
        }
        Ok(exit)
    }

    fn want(&self, unit: &Unit) -> Result<(), Error> {
        let path = self.path(&format!("skytools.target.wants/{}", unit.name()))?;
        match symlink(TEMPLATE, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|source| Error::Io { path, source }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path(name)?;
        fs::write(&path, text).map_err(|source| Error::Io { path, source })
    }

    /// A file of the directory; what it lies in is there.
    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        let parent = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(parent)
            .map_err(|source| Error::Io { path: parent.to_owned(), source })?;
        Ok(path)
    }
}

/// What the registry says about the kind of a job, where that is not what the unit says.
fn drop_in(job: &Job) -> Result<Option<String>, Error> {
    let kind = &job.kind;
    let mut text = String::new();
    if kind.script.is_some() || !kind.args.is_empty() {
        let words: Vec<String> =
            job.words(PGQ).iter().map(|word| quoted(word)).collect::<Result<_, _>>()?;
        let _ = write!(text, "ExecStart=\nExecStart={}\n", words.join(" "));
    }
    if kind.script.is_some() {
        // Who knows whether a script says that it is ready, or what its exit codes mean?
        text.push_str("Type=exec\nRestartPreventExitStatus=\n");
        let _ = writeln!(text, "ExecReload=\nExecReload=/bin/sh -c '{RELOAD_SCRIPT}'");
    }
    if let Some(user) = kind.user.as_deref().filter(|user| *user != USER) {
        // The jobs' files are the group's to read.
        let user = plain(user)?;
        let _ = write!(text, "User={user}\nGroup=\nSupplementaryGroups={USER}\n");
    }
    if let Some(cwd) = kind.cwd.as_deref().filter(|cwd| *cwd != Path::new(DIRECTORY)) {
        let _ = writeln!(text, "WorkingDirectory={}", plain(&cwd.display().to_string())?);
    }
    let head = format!("# What the registry says about [{}].\n[Service]\n", kind.name);
    Ok((!text.is_empty()).then(|| head + &text))
}

/// A word of a command line, as units write it.
fn quoted(word: &str) -> Result<String, Error> {
    let word = plain(word)?.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "$$");
    Ok(format!("\"{word}\""))
}

/// A value, as units write it.
fn plain(value: &str) -> Result<String, Error> {
    if value.contains(char::is_control) {
        return Err(Error::Config(format!("{value:?} cannot be written into a unit")));
    }
    Ok(value.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::super::job::Job;
    use super::super::kind::Kind;
    use super::drop_in;

    fn job(script: Option<&str>, args: &str, user: Option<&str>, cwd: Option<&str>) -> Job {
        Job {
            name: "j".to_owned(),
            kind: Kind {
                name: "report".to_owned(),
                script: script.map(str::to_owned),
                cwd: cwd.map(Into::into),
                args: args.to_owned(),
                user: user.map(str::to_owned),
                ..Kind::default()
            },
            ini: "/etc/skytools/j.ini".into(),
            pidfile: None,
            disabled: false,
            unit: None,
        }
    }

    #[test]
    fn what_the_registry_says_goes_into_the_unit() {
        let text = |job: &Job| {
            drop_in(job).unwrap().map(|text| {
                let rest =
                    text.strip_prefix("# What the registry says about [report].\n[Service]\n");
                rest.unwrap().to_owned()
            })
        };
        assert_eq!(text(&job(None, "", None, None)), None);
        assert_eq!(text(&job(None, "", None, Some("/var/lib/skytools"))), None);
        let verbose =
            "ExecStart=\nExecStart=\"/usr/bin/pgq\" \"run\" \"/etc/skytools/j.ini\" \"-v\"\n";
        assert_eq!(text(&job(None, "-v", None, None)).unwrap(), verbose);
        let script = concat!(
            "ExecStart=\nExecStart=\"/bin/r\" \"-q\" \"/etc/skytools/j.ini\" ",
            r#""a\"b" "50%%" "$$HOME" "\\""#,
            "\nType=exec\nRestartPreventExitStatus=\nExecReload=\n",
            "ExecReload=/bin/sh -c 'grep -q \"^SigCgt:.*[13579bdf]$$\" ",
            "/proc/$$MAINPID/status || exit 0; kill -HUP $$MAINPID'\n",
            "User=joe\nGroup=\nSupplementaryGroups=skytools\nWorkingDirectory=/a b\n",
        );
        let own = job(Some("/bin/r -q"), " a\"b  50% $HOME \\", Some("joe"), Some("/a b"));
        assert_eq!(text(&own).unwrap(), script);
        assert_eq!(text(&job(None, "", Some("skytools"), None)), None);
        assert!(drop_in(&job(None, "", Some("joe\nExecStart=/bin/sh"), None)).is_err());
    }
}
