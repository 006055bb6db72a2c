//! The command line.
//!
//! `walmgr --config FILE VERB …`; walmgr3's order, `walmgr FILE VERB …`, works too, as do its names
//! `xarchive` and `xrestore`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::command;

/// WAL archive, base backups, restore and standbys for PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "walmgr", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Configuration file: TOML, or an INI of walmgr3.
    #[arg(long, short, env = "WALMGR_CONFIG", default_value = "/etc/walmgr.toml")]
    pub(crate) config: PathBuf,
    /// Say more; messages go to standard error.
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Say only what went wrong.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print what would be done, and change nothing.
    #[arg(long, short = 'n', visible_alias = "not-really", global = true)]
    pub(crate) dry_run: bool,
    /// Only this one of the configuration's repositories.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) repo: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Store one WAL file: the server's archive_command.
    #[command(alias = "xarchive")]
    ArchivePush(command::archive_push::Args),
    /// Fetch one WAL file: the server's restore_command.
    #[command(alias = "xrestore")]
    ArchiveGet(command::archive_get::Args),
    /// Stay in the foreground and store and fetch ahead of what the server asks for.
    Daemon,
    /// Ask the server about itself and write a configuration file.
    Init(command::init::Args),
    /// Create the repository and stanza, make the server archive to it, and prove that it does.
    Setup(command::setup::Args),
    /// Take a base backup.
    Backup(command::backup::Args),
    /// List backups.
    #[command(alias = "list-backups")]
    Listbackups(command::listbackups::Args),
    /// Read backups and WAL back and hold them against their hashes.
    Verify(command::verify::Args),
    /// Restore a backup into a data directory.
    Restore(Box<command::restore::Args>),
    /// Remove backups that the rules do not keep, and what only they needed.
    #[command(alias = "xrotate", alias = "xpurgewals")]
    Expire(command::expire::Args),
    /// Keep a backup whatever the rules say.
    Pin(command::pin::Args),
    /// Leave a backup to the rules again.
    Unpin(command::pin::Unpin),
    /// Say what the repository holds.
    Info(command::info::Args),
    /// List the repositories, or copy between them.
    #[command(subcommand)]
    Repository(command::repository::Action),
    /// Work on the keys that open an encrypted repository.
    Key(command::key::Args),
    /// Prove that archiving works.
    Check(command::check::Args),
    /// After pg_upgrade, let the stanza take WAL and backups of the new cluster.
    StanzaUpgrade,
    /// Make the server archive to this repository no more.
    Stop(command::stop::Args),
    /// Make this host a standby.
    #[command(alias = "create-standby")]
    Createslave(command::createslave::Args),
    /// Promote the standby.
    #[command(alias = "promote")]
    Boot(command::boot::Args),
    /// Pause the standby's replay.
    Pause(command::pause::Args),
    /// Let a paused standby replay again.
    Continue,
    /// Receive WAL up to the server's current position, once.
    Sync,
    /// Stay in the foreground and receive WAL as it is written.
    #[command(alias = "receive")]
    Syncdaemon,
    /// Choose the standbys that commits wait for.
    SynchStandby(command::synch_standby::Args),
    /// Run the site's periodic command if it is due.
    Periodic,
    /// Take over the WAL archive and the base backups of walmgr3.
    #[command(alias = "import-walmgr")]
    Adopt(command::adopt::Args),
    /// Serve a repository of this host to a walmgr that came through ssh.
    RemoteStore(command::remote_store::Args),
    /// Remove the stanza with all its WAL and backups.
    Cleanup(command::cleanup::Args),
    /// Print completions for a shell.
    Completions(command::completions::Args),
    /// Write man pages.
    #[command(hide = true)]
    Man(command::completions::Man),
}

impl Cli {
    /// Parse the process's arguments; on failure, what clap has to say.
    pub(crate) fn from_process() -> Result<Self, clap::Error> {
        Self::try_parse_from(rearrange(std::env::args_os().collect()))
    }
}

/// True when the process was called as a restore command. Known without parsing, since there even a
/// usage error must not look like "no such file".
pub(crate) fn is_archive_get() -> bool {
    std::env::args_os().skip(1).any(|arg| arg == "archive-get" || arg == "xrestore")
}

/// Turn `walmgr FILE.ini VERB` into `walmgr --config FILE.ini VERB`.
fn rearrange(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_file = args.get(1).and_then(|arg| arg.to_str()).is_some_and(|arg| {
        !arg.starts_with('-') && (arg.ends_with(".ini") || arg.ends_with(".toml"))
    });
    if is_file {
        args.insert(1, "--config".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Verb, rearrange};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_order_of_walmgr3_works() {
        let args = ["walmgr", "/etc/x.ini", "xarchive", "pg_wal/1", "1"];
        let cli = Cli::try_parse_from(rearrange(args.map(Into::into).to_vec())).unwrap();
        assert_eq!(cli.config.to_str(), Some("/etc/x.ini"));
        assert!(matches!(cli.verb, Verb::ArchivePush(_)));
    }
}
