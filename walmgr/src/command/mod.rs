//! The verbs, one file each, and the one table of them: [`Verb`] with its dispatch. Manual pages
//! and completions are made of it.

pub(crate) mod adopt;
pub(crate) mod archive_get;
pub(crate) mod archive_push;
pub(crate) mod backup;
pub(crate) mod boot;
pub(crate) mod check;
pub(crate) mod cleanup;
pub(crate) mod completions;
pub(crate) mod continue_;
pub(crate) mod createslave;
pub(crate) mod daemon;
pub(crate) mod expire;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod listbackups;
pub(crate) mod pause;
pub(crate) mod periodic;
pub(crate) mod pin;
pub(crate) mod places;
pub(crate) mod remote_store;
pub(crate) mod repository;
pub(crate) mod restore;
mod servers;
pub(crate) mod setup;
pub(crate) mod stanza_upgrade;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod syncdaemon;
pub(crate) mod synch_standby;
pub(crate) mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cli::{Options, rearrange};
use crate::config::Config;
use crate::context::Context;
use crate::daemon::client::Asked;
use crate::error::Result;
use crate::log;
use crate::pg::transport::Transport;
use crate::repositories::{any, each, one};

/// WAL archive, base backups, restore and standbys for PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "walmgr", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    options: Options,
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store one WAL file: the server's archive_command.
    #[command(alias = "xarchive")]
    ArchivePush(archive_push::Args),
    /// Fetch one WAL file: the server's restore_command.
    #[command(alias = "xrestore")]
    ArchiveGet(archive_get::Args),
    /// Stay in the foreground and store and fetch ahead of what the server asks for.
    Daemon,
    /// Ask the server about itself and write a configuration file.
    Init(init::Args),
    /// Create the repository and stanza, make the server archive to it, and prove that it does.
    Setup(setup::Args),
    /// Take a base backup.
    Backup(backup::Args),
    /// List backups.
    #[command(alias = "list-backups")]
    Listbackups(listbackups::Args),
    /// Read backups and WAL back and hold them against their hashes.
    Verify(verify::Args),
    /// Restore a backup into a data directory.
    Restore(Box<restore::Args>),
    /// Remove backups that the rules do not keep, and what only they needed.
    #[command(alias = "xrotate", alias = "xpurgewals")]
    Expire(expire::Args),
    /// Keep a backup whatever the rules say.
    Pin(pin::Args),
    /// Leave a backup to the rules again.
    Unpin(pin::Unpin),
    /// Say what the repository holds.
    Info(info::Args),
    /// List the repositories, or copy between them.
    #[command(subcommand)]
    Repository(repository::Action),
    /// Work on the keys that open an encrypted repository.
    Key(key::Args),
    /// Prove that archiving works.
    Check(check::Args),
    /// After pg_upgrade, let the stanza take WAL and backups of the new cluster.
    StanzaUpgrade,
    /// Make the server archive to this repository no more.
    Stop(stop::Args),
    /// Make this host a standby.
    #[command(alias = "create-standby")]
    Createslave(createslave::Args),
    /// Promote the standby.
    #[command(alias = "promote")]
    Boot(boot::Args),
    /// Pause the standby's replay.
    Pause(pause::Args),
    /// Let a paused standby replay again.
    Continue,
    /// Receive WAL up to the server's current position, once.
    Sync,
    /// Stay in the foreground and receive WAL as it is written.
    #[command(alias = "receive")]
    Syncdaemon,
    /// Choose the standbys that commits wait for.
    SynchStandby(synch_standby::Args),
    /// Run the site's periodic command if it is due.
    Periodic,
    /// Take over the WAL archive and the base backups of walmgr3.
    #[command(alias = "import-walmgr")]
    Adopt(adopt::Args),
    /// Serve a repository of this host to a walmgr that came through ssh.
    RemoteStore(remote_store::Args),
    /// Remove the stanza with all its WAL and backups.
    Cleanup(cleanup::Args),
    /// Print completions for a shell.
    Completions(completions::Args),
    /// Write man pages.
    #[command(hide = true)]
    Man(completions::Man),
}

impl Cli {
    /// Parse the process's arguments; on failure, what clap has to say.
    pub(crate) fn from_process() -> std::result::Result<Self, clap::Error> {
        Self::try_parse_from(rearrange(std::env::args_os().collect()))
    }

    /// Run the verb, report its failure, and return the exit code. `asked`: what came already of
    /// asking the daemon to store a file. Only the configuration says where messages go, so a
    /// failure comes this far.
    pub(crate) fn run(self, transport: Transport, asked: Asked) -> ExitCode {
        let Self { options, verb } = self;
        log::set_level(if options.quiet { 0 } else { 1 + u8::from(options.verbose) });
        match verb.run(&options, transport, asked) {
            Ok(code) => code,
            Err(error) => {
                log::error(&error);
                ExitCode::from(error.exit_code())
            }
        }
    }
}

impl Options {
    /// What the configuration says; not for verbs that need none. Where the verb may connect by
    /// TLS, another program may begin here.
    fn context(&self, verb: &Verb, transport: Transport) -> Result<Context> {
        let mut config = Config::load(&self.config)?;
        log::set_target(&config.log);
        if let Some(name) = &self.repo {
            config.select(name)?;
        }
        transport.become_able(verb.connects_by(&config), Some(&config.file.path))?;
        Ok(Context::new(config, transport, self.dry_run))
    }
}

impl Verb {
    fn run(&self, options: &Options, transport: Transport, asked: Asked) -> Result<ExitCode> {
        let dry_run = options.dry_run;
        let context = || options.context(self, transport);
        let with = |run: &dyn Fn(&Context) -> Result<()>| run(&context()?);
        let with_each = |run: &dyn Fn(&Context) -> Result<()>| with(&|all| each(all, run));
        let with_any = |run: &dyn Fn(&Context) -> Result<()>| with(&|all| any(all, run));
        match self {
            Self::ArchivePush(args) => archive_push::run(&context()?, args, asked),
            // Has exit codes of its own, also for a configuration that cannot be read.
            Self::ArchiveGet(args) => {
                return Ok(ExitCode::from(archive_get::run(context(), args)));
            }
            Self::Daemon => with(&daemon::run),
            // Writes the configuration, so it cannot read it.
            Self::Init(args) => init::run(&options.config, transport, dry_run, args),
            Self::Setup(args) => with(&|all| setup::run(all, args)),
            Self::Backup(args) => with(&|all| backup::run(all, args)),
            Self::Listbackups(args) => with(&|all| listbackups::run(all, args)),
            Self::Verify(args) if args.names_backups() => with_any(&|one| verify::run(one, args)),
            Self::Verify(args) => with_each(&|one| verify::run(one, args)),
            Self::Restore(args) => with(&|all| restore::run(all, args)),
            Self::Expire(args) => with_each(&|one| expire::run(one, args)),
            Self::Pin(args) => with_any(&|one| pin::run(one, args)),
            Self::Unpin(args) => with_any(&|one| pin::unpin(one, args)),
            Self::Info(args) => with(&|all| info::run(all, args)),
            Self::Repository(action) => with(&|all| repository::run(all, action)),
            Self::Key(key::Args { verb: key::Verb::Generate { file } }) => {
                key::generate(file, dry_run)
            }
            Self::Key(key::Args { verb: key::Verb::OfRepository(verb) }) => {
                with(&|all| key::run(all, verb))
            }
            Self::Check(args) => with_each(&|one| check::run(one, args)),
            Self::StanzaUpgrade => with_each(&stanza_upgrade::run),
            Self::Stop(args) => with(&|all| stop::run(all, args)),
            Self::Createslave(args) => with(&|all| createslave::run(all, args)),
            Self::Boot(args) => with(&|all| boot::run(all, args)),
            Self::Pause(args) => with(&|all| pause::run(all, args)),
            Self::Continue => with(&continue_::run),
            Self::Sync => with(&sync::run),
            Self::Syncdaemon => with(&syncdaemon::run),
            Self::SynchStandby(args) => with(&|all| synch_standby::run(all, args)),
            Self::Periodic => with(&periodic::run),
            Self::Adopt(args) => with(&|all| adopt::run(all, args)),
            Self::RemoteStore(args) => remote_store::run(args),
            Self::Cleanup(args) => with(&|all| one(all).and_then(|()| cleanup::run(all, args))),
            Self::Completions(args) => completions::run(args),
            Self::Man(args) => completions::man(args),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Verb};
    use crate::cli::rearrange;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_order_of_walmgr3_works() {
        let args = ["walmgr", "/etc/x.ini", "xarchive", "pg_wal/1", "1"];
        let cli = Cli::try_parse_from(rearrange(args.map(Into::into).to_vec())).unwrap();
        assert_eq!(cli.options.config.to_str(), Some("/etc/x.ini"));
        assert!(matches!(cli.verb, Verb::ArchivePush(_)));
    }
}
