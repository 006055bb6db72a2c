//! `pgq londiste`, and the names `londiste` and `londiste3` of this program: replication.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use pgq_client::{Error, Statements, read_ini};
use pgq_replica::cascade::execute;

use super::run::{Process, Run};
use super::service::Job;
use super::{Exit, Global};

/// Replicate tables.
#[derive(Debug, clap::Args)]
pub(super) struct Londiste {
    #[command(flatten)]
    process: Process,
    /// The INI file; it has a section londiste or londiste3
    ini: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Replay what the provider has, and copy new tables; until stopped
    Worker,
    /// Run scripts on the root, in one transaction, and then on each node in their place among the
    /// changes; one that was run before, by its file's name, is left out
    Execute {
        /// Scripts of SQL
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

impl Londiste {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        match self.command {
            Command::Worker => Run::worker(self.ini, self.process).run(global),
            Command::Execute { files } => execute(&self.ini, &files),
        }
    }
}

fn execute(ini: &Path, files: &[PathBuf]) -> anyhow::Result<Exit> {
    let job = Job::read(&read_ini(ini)?)?;
    let Some(settings) = job.cascade() else {
        return Err(Error::Config(format!("{}: no section londiste", ini.display())).into());
    };
    let mut client = settings.local.connect()?;
    let mut transaction = client.transaction().map_err(Error::from)?;
    for path in files {
        let read = |source| Error::Io { path: path.clone(), source };
        let sql = std::fs::read_to_string(path).map_err(read)?;
        let name = path.file_name().and_then(OsStr::to_str).ok_or_else(|| {
            Error::Config(format!("{}: a script is known by its file's name", path.display()))
        })?;
        let session = &mut Statements(&mut transaction);
        if !execute::begin(session, &settings.queue, name, &sql)? {
            log::warn!("{name}: was run before");
        }
    }
    transaction.commit().map_err(Error::from)?;
    Ok(Exit::Ok)
}

/// The command line of a program that was called by a name of SkyTools that is ours, too.
pub(super) fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "londiste" || name == "londiste3") {
        arguments.insert(1, "londiste".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory;

    use super::arguments;
    use crate::cli::Cli;

    #[test]
    fn the_name_of_the_program_is_a_command() {
        let given = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in ["/usr/bin/londiste a.ini worker", "londiste3 -v -d a.ini worker"] {
            let arguments = arguments(given(line).into_iter());
            let matches = Cli::command().try_get_matches_from(&arguments).unwrap();
            let (command, matches) = matches.subcommand().unwrap();
            assert_eq!(
                (command, matches.subcommand_name()),
                ("londiste", Some("worker")),
                "{line}"
            );
        }
        assert_eq!(arguments(given("pgq status").into_iter()), given("pgq status"));
    }
}
