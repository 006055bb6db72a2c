//! The configuration: one struct, read from TOML ([`toml`]) or from an INI file of walmgr3
//! ([`ini`]). Each part of walmgr has the settings that are its own; here are those of verbs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use walmgr_protocol::SOCKET;

use crate::adopt::settings::Legacy;
use crate::backup::settings::Backup;
use crate::config::original::Original;
use crate::daemon::settings::Daemon;
use crate::error::{Error, Result};
use crate::expire::settings::Expire;
use crate::limit::settings::Limits;
use crate::log::settings::Log;
use crate::pg::settings::Cluster;
use crate::repo::settings::{self, Repository};
use crate::repo::stanza;
use crate::sync::settings::Streaming;
use crate::value::{duration, opt_duration};

pub(crate) mod ini;
pub(crate) mod original;
mod syntax;
pub(crate) mod watch;

/// Everything a configuration file can say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The cluster's name in the repository.
    pub(crate) stanza: String,
    /// The cluster on this host.
    #[serde(default)]
    pub(crate) cluster: Cluster,
    /// Where WAL and backups go.
    #[serde(rename = "repository", deserialize_with = "settings::one_or_several")]
    pub(crate) repositories: Vec<Repository>,
    /// The one that is worked on: the first, unless [`Config::select`] says otherwise.
    #[serde(skip)]
    pub(crate) repository: Repository,
    /// Those that [`Config::select`] left out, if one was named.
    #[serde(skip)]
    left_out: Option<Vec<Repository>>,
    /// Behaviour of archive-push and archive-get.
    #[serde(default)]
    pub(crate) archive: Archive,
    /// How backups are taken.
    #[serde(default)]
    pub(crate) backup: Backup,
    /// How long backups are kept.
    #[serde(default)]
    pub(crate) expire: Expire,
    /// How much of network, disk and processor is used.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// How this host becomes a standby.
    #[serde(default)]
    pub(crate) standby: Standby,
    /// The resident process.
    #[serde(default)]
    pub(crate) daemon: Daemon,
    /// Receiving WAL as it is written.
    #[serde(default)]
    pub(crate) sync: Streaming,
    /// Commands of the site.
    #[serde(default)]
    pub(crate) commands: Commands,
    /// Where messages go.
    #[serde(default)]
    pub(crate) log: Log,
    /// Where walmgr3 kept its things, from an INI file.
    #[serde(skip)]
    pub(crate) legacy: Legacy,
    /// The file it was read from.
    #[serde(skip)]
    pub(crate) file: Original,
}

/// Behaviour of archive-push and archive-get.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Archive {
    /// How long archive-get retries before it gives up, in targeted or complete recovery.
    #[serde(deserialize_with = "duration")]
    pub(crate) get_timeout: Duration,
    /// The same on a standby, where PostgreSQL itself asks again.
    #[serde(deserialize_with = "duration")]
    pub(crate) standby_get_timeout: Duration,
}

/// How this host becomes a standby.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Standby {
    /// How a standby reaches its primary; without it a standby reads from the archive only.
    pub(crate) primary_conninfo: Option<String>,
    /// Replication slot on the primary.
    pub(crate) slot: Option<String>,
}

/// Commands of the site, run by `sh -c`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Commands {
    /// Starts the server; else `pg_ctl start`.
    pub(crate) start: Option<String>,
    /// Restarts the server, for settings that need it; else the operator is told to.
    pub(crate) restart: Option<String>,
    /// What `periodic` runs.
    pub(crate) periodic: Option<String>,
    /// How often it may run.
    #[serde(deserialize_with = "opt_duration")]
    pub(crate) periodic_interval: Option<Duration>,
}

impl Default for Archive {
    fn default() -> Self {
        Self { get_timeout: Duration::from_secs(60), standby_get_timeout: Duration::from_secs(5) }
    }
}

impl Config {
    /// Read a configuration file: an INI with section `[walmgr]`, or TOML.
    ///
    /// # Errors
    /// [`Error::Usage`] with the place in the file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let (original, text) = Original::read(&path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => " (walmgr init writes one, --config names another)",
                _ => "",
            };
            Error::Usage(format!("{}: {error}{hint}", path.display()))
        })?;
        let mut config = Self::parse(&text, &path)?;
        config.check()?;
        config.file = original;
        Ok(config)
    }

    fn select_first(&mut self) {
        self.repository = self.repositories.first().cloned().unwrap_or_default();
    }

    /// Work on the repository of this name, and on no other.
    ///
    /// # Errors
    /// [`Error::Usage`] when there is none.
    pub(crate) fn select(&mut self, name: &str) -> Result<()> {
        let names: Vec<_> = self.repositories.iter().map(|other| other.name.clone()).collect();
        let all = std::mem::take(&mut self.repositories);
        let (named, others) = all.into_iter().partition(|one| one.name == name);
        (self.repositories, self.left_out) = (named, Some(others));
        if self.repositories.is_empty() {
            return Err(Error::Usage(format!(
                "there is no repository \"{name}\", but {}",
                names.join(", ")
            )));
        }
        self.select_first();
        Ok(())
    }

    /// One was named, be it the only one.
    pub(crate) fn is_selected(&self) -> bool {
        self.left_out.is_some()
    }

    /// Those that the named one leaves out.
    pub(crate) fn others(&self) -> &[Repository] {
        self.left_out.as_deref().unwrap_or_default()
    }

    /// Refuse what means nothing.
    fn check(&self) -> Result<()> {
        stanza::check_name(&self.stanza)?;
        settings::check(&self.repositories)?;
        self.backup.check()?;
        self.expire.check()?;
        self.limits.check()?;
        self.daemon.check()
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        if ini::looks_like_ini(text) {
            return ini::parse(text, path);
        }
        let mut config: Self = toml::from_str(text).map_err(|error| {
            Error::Usage(format!("{}: {}", path.display(), syntax::why(text, &error)))
        })?;
        config.select_first();
        Ok(config)
    }

    /// The data directory.
    ///
    /// # Errors
    /// [`Error::Usage`] when the file does not name one.
    pub(crate) fn data(&self) -> Result<&Path> {
        self.cluster.data.as_deref().ok_or_else(|| {
            Error::Usage(format!("{}: cluster.data is not set", self.file.path.display()))
        })
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let beside = || self.cluster.data.as_ref().map(|data| data.join(SOCKET));
        self.daemon.socket.clone().or_else(beside)
    }

    /// The connection string.
    ///
    /// # Errors
    /// [`Error::Usage`] when the file has none.
    pub(crate) fn connect(&self) -> Result<&str> {
        self.cluster.connect.as_deref().ok_or_else(|| {
            Error::Usage(format!("{}: cluster.connect is not set", self.file.path.display()))
        })
    }

    /// Path of one of PostgreSQL's programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.cluster.bin.as_ref().map_or_else(|| PathBuf::from(name), |bin| bin.join(name))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::Config;
    use crate::repo::settings::Compression;

    #[test]
    fn a_small_file_is_enough() {
        let config =
            Config::parse("stanza = 'main'\n[repository]\npath = '/r'\n", Path::new("x")).unwrap();
        assert_eq!(config.repository.compression, Compression::Zstd);
        assert_eq!(config.archive.get_timeout, Duration::from_secs(60));
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        let check = |line: &str| {
            let text = format!("stanza = 'main'\nrepository.path = '/r'\n{line}\n");
            Config::parse(&text, Path::new("x")).and_then(|config| config.check())
        };
        for line in [
            "limits.backup = '50 MB/s'",
            "limits.nice = 19",
            "expire.time_zone = 'Europe/Berlin'",
            "repository.level = 22",
            "backup.jobs = 1",
            "daemon.prefetch = 0",
            "",
        ] {
            check(line).unwrap();
        }
        for line in [
            "repository.level = 99",
            "repository.level = -5",
            "repository.level = 0",
            "backup.jobs = 0",
            "backup.jobs = 257",
            "backup.jobs = -1",
            "daemon.jobs = 0",
            "daemon.ahead = 1000000",
            "daemon.prefetch = 9999",
            "expire.keep = 0",
            "expire.daily = 0",
            "limits.nice = 20",
            "limits.backup = '50MB'",
            "limits.restore = '1MB/s/s'",
            "limits.archive = '10kB/s'",
            "limits.archive = '9999999GB/s'",
            "expire.monthly = 1000000",
            "expire.time_zone = 'Nowhere/None'",
            "archive.get_timeout = '40000d'",
        ] {
            assert_eq!(check(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let text = "stanza = 'main'\n[repository]\npath = '/r'\nspeed = 1\n";
        let error = Config::parse(text, Path::new("w.toml")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("speed"), "{error}");
    }
}
