//! What a command works with: the configuration and the repository it names.

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::error::Result;
use crate::limit::{Limited, Limiter, Limiters};
use crate::pg::control;
use crate::pg::transport::Transport;
use crate::process::shell_quote;
use crate::programs;
use crate::repo::local::LocalStore;
use crate::repo::settings::{Location, Repository};
use crate::repo::ssh::SshStore;
use crate::repo::stanza::Stanza;
use crate::repo::{Lock, LockMode, Store, azure, gcs, s3, sealed};

/// A command's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The configuration.
    pub(crate) config: Config,
    /// What this program can do to connect.
    pub(crate) transport: Transport,
    /// Print what would be done, and change nothing.
    pub(crate) dry_run: bool,
    /// How much of the repository this process may use.
    limiters: Limiters,
}

/// What the repository is used for, as far as that has a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// Taking a backup.
    Backup,
    /// Storing WAL.
    Archive,
    /// Restoring a backup.
    Restore,
}

impl Context {
    /// The surroundings of a configuration.
    pub(crate) fn new(config: Config, transport: Transport, dry_run: bool) -> Self {
        let limits = &config.limits;
        let limiters = Limiters {
            backup: limits.backup.map(Limiter::new),
            archive: limits.archive.map(Limiter::new),
            restore: limits.restore.map(Limiter::new),
        };
        Self { limiters, config, transport, dry_run }
    }

    /// Put a use of the repository behind its limit.
    pub(crate) fn limited(&self, mut stanza: Stanza, usage: Use) -> Stanza {
        let limiter = match usage {
            Use::Backup => &self.limiters.backup,
            Use::Archive => &self.limiters.archive,
            Use::Restore => &self.limiters.restore,
        };
        stanza.store = Limited::behind(limiter.as_ref(), stanza.store);
        stanza
    }

    /// Open the configured repository.
    pub(crate) fn store(&self) -> Result<Box<dyn Store>> {
        sealed::open(self.bare_store()?, self.config.repository.encryption.as_ref())
    }

    /// Open the configured repository as its storage has it, encrypted or not.
    pub(crate) fn bare_store(&self) -> Result<Box<dyn Store>> {
        Ok(match self.config.repository.location()? {
            Location::Directory(path) => Box::new(LocalStore::open(path)?),
            Location::S3(settings) => Box::new(s3::store(settings)?.open()?),
            Location::Gcs(settings) => Box::new(gcs::store(settings)?.open()?),
            Location::Azure(settings) => Box::new(azure::store(settings)?.open()?),
            Location::Ssh(settings) => Box::new(SshStore::open(settings)?),
        })
    }

    /// Make the configured place a repository, or open the one that is there.
    pub(crate) fn init_store(&self) -> Result<Box<dyn Store>> {
        let store: Box<dyn Store> = match self.config.repository.location()? {
            Location::Directory(path) => Box::new(LocalStore::init(path)?),
            Location::S3(settings) => Box::new(s3::store(settings)?.init()?),
            Location::Gcs(settings) => Box::new(gcs::store(settings)?.init()?),
            Location::Azure(settings) => Box::new(azure::store(settings)?.init()?),
            Location::Ssh(settings) => Box::new(SshStore::init(settings)?),
        };
        sealed::init(store, self.config.repository.encryption.as_ref())
    }

    /// A context for each repository, in the order of the configuration; for the selected one alone
    /// where one was selected.
    pub(crate) fn each(&self) -> Vec<Self> {
        let of = |repository: &Repository| {
            let mut context = self.clone();
            context.config.repository = repository.clone();
            context
        };
        self.config.repositories.iter().map(of).collect()
    }

    /// The name of its repository.
    pub(crate) fn repository(&self) -> &str {
        &self.config.repository.name
    }

    /// True when there is no other repository.
    pub(crate) fn is_alone(&self) -> bool {
        self.config.repositories.len() == 1
    }

    /// Open the configured stanza.
    pub(crate) fn stanza(&self) -> Result<Stanza> {
        Stanza::open(self.store()?, &self.config.stanza)
    }

    /// Open what the stanza has of each of its systems, the present one last.
    pub(crate) fn systems(&self) -> Result<Vec<Stanza>> {
        let present = self.stanza()?;
        let earlier: Vec<u64> = present.earlier().map(|info| info.system_identifier).collect();
        let mut all = Vec::new();
        for identifier in earlier {
            all.push(self.stanza()?.of(identifier)?);
        }
        all.push(present);
        Ok(all)
    }

    /// Open what the stanza has of the system in a data directory.
    pub(crate) fn stanza_of(&self, data: Option<&Path>) -> Result<Stanza> {
        let stanza = self.stanza()?;
        match data.map(control::system_identifier).transpose()?.flatten() {
            Some(identifier) => stanza.of(identifier),
            None => Ok(stanza),
        }
    }

    /// Keep `expire` away from what is read. A dry run writes nothing, and that includes locks.
    pub(crate) fn reading(&self, stanza: &Stanza) -> Result<Option<Box<dyn Lock>>> {
        if self.dry_run {
            return Ok(None);
        }
        stanza.store.lock(&stanza.key("locks/expire"), LockMode::Shared).map(Some)
    }

    /// The data directory that a server's command runs in: the current one, else the configured
    /// one.
    pub(crate) fn data_of_server(&self) -> Option<PathBuf> {
        let here = PathBuf::from(".");
        if here.join("global/pg_control").exists() {
            Some(here)
        } else {
            self.config.cluster.data.clone()
        }
    }

    /// The command line that runs a verb of this walmgr with this configuration, for the server's
    /// settings; with the repository, where one of several was selected.
    pub(crate) fn command_line(&self, rest: &str) -> Result<String> {
        let selected = match self.config.others() {
            [] => String::new(),
            _ => format!("--repo {} ", shell_quote(self.repository())),
        };
        Ok(self.command_line_of(&programs::walmgr()?, &format!("{selected}{rest}")))
    }

    /// The server's `archive_command`, always for all repositories: what is acknowledged has to be
    /// in each that is required. It goes through `walmgr-push` where it is installed, which
    /// takes the same arguments and costs less to start.
    pub(crate) fn archive_command(&self) -> Result<String> {
        Ok(self.command_line_of(&programs::archiver()?, "archive-push %p"))
    }

    fn command_line_of(&self, program: &Path, rest: &str) -> String {
        let quote = |path: &Path| shell_quote(&path.display().to_string());
        format!("{} --config {} {rest}", quote(program), quote(&self.config.file.path))
    }
}

#[cfg(test)]
mod tests {
    use super::Context;
    use crate::config::Config;
    use crate::pg::transport::Transport;

    #[test]
    fn a_command_for_the_server_keeps_to_the_repository_that_was_selected_and_archives_in_all() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("walmgr.toml");
        let both =
            "[[repository]]\nname = 'a'\npath = '/a'\n[[repository]]\nname = 'b'\npath = '/b'\n";
        std::fs::write(&file, format!("stanza = 'main'\n{both}")).unwrap();
        let of = |selected: Option<&str>| {
            let mut config = Config::load(&file).unwrap();
            if let Some(name) = selected {
                config.select(name).unwrap();
            }
            let context = Context::new(config, Transport::Plain, false);
            let get = context.command_line("archive-get %f %p").unwrap();
            assert!(get.ends_with(" archive-get %f %p"), "{get}");
            assert!(!context.archive_command().unwrap().contains("--repo"));
            get.split_once(" --config ").unwrap().1.to_owned()
        };
        assert!(!of(None).contains("--repo"));
        assert!(of(Some("a")).contains(" --repo a archive-get"));
        assert!(of(Some("b")).contains(" --repo b archive-get"));
    }
}
