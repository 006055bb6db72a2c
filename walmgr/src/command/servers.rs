//! Which servers a verb connects to itself, said before it begins: by TLS it is another program
//! that runs it. Programs of PostgreSQL's that a verb calls do not count.

use super::Verb;
use crate::config::Config;
use crate::sync::receiver;

/// The servers of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Servers {
    /// None.
    None,
    /// `cluster.connect`.
    Cluster,
    /// That, and `standby.primary_conninfo`.
    Both,
    /// The one that WAL is received from.
    Source,
}

impl Verb {
    fn servers(&self) -> Servers {
        match self {
            Self::Setup(_)
            | Self::Check(_)
            | Self::StanzaUpgrade
            | Self::Stop(_)
            | Self::Boot(_)
            | Self::Pause(_)
            | Self::Continue
            | Self::SynchStandby(_)
            // Refuses while the server archives here.
            | Self::Cleanup(_) => Servers::Cluster,
            Self::Info(args) if args.asks_the_server() => Servers::Cluster,
            // A standby's backup asks the primary to switch; a standby is made of one.
            Self::Backup(_) | Self::Createslave(_) => Servers::Both,
            Self::Sync => Servers::Source,
            // Has a connection string of its own.
            Self::Init(_)
            | Self::ArchivePush(_)
            | Self::ArchiveGet(_)
            | Self::Daemon
            | Self::Listbackups(_)
            | Self::Verify(_)
            | Self::Restore(_)
            | Self::Expire(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::Info(_)
            | Self::Repository(_)
            | Self::Key(_)
            // pg_receivewal connects.
            | Self::Syncdaemon
            | Self::Periodic
            | Self::Adopt(_)
            | Self::RemoteStore(_)
            | Self::Completions(_)
            | Self::Man(_) => Servers::None,
        }
    }

    /// The connection strings that this verb connects by, as far as the configuration has them.
    pub(super) fn connects_by<'a>(&self, config: &'a Config) -> Vec<&'a str> {
        let (cluster, primary) = (&config.cluster.connect, &config.standby.primary_conninfo);
        let strings = match self.servers() {
            Servers::None => [None, None],
            Servers::Cluster => [cluster.as_deref(), None],
            Servers::Both => [cluster.as_deref(), primary.as_deref()],
            Servers::Source => [receiver::source(config), None],
        };
        strings.into_iter().flatten().collect()
    }
}
