//! The configuration: one struct, read from TOML ([`toml`]) or from an INI file of walmgr3
//! ([`ini`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::Deserialize;
use walmgr_protocol::SOCKET;

use crate::error::{Error, Result};
use crate::log::settings::Log;
use crate::repo::object::Codec;
use crate::repo::stanza;

pub(crate) mod ini;
mod repository;
pub(crate) mod value;

pub(crate) use repository::{Compression, Location, Repository, Ssh};
use value::{duration, opt_duration, opt_rate, opt_zone};

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
    #[serde(rename = "repository", deserialize_with = "repository::one_or_several")]
    pub(crate) repositories: Vec<Repository>,
    /// The one that is worked on: the first, unless [`Config::select`] says otherwise.
    #[serde(skip)]
    pub(crate) repository: Repository,
    /// Those that [`Config::select`] left out.
    #[serde(skip)]
    pub(crate) others: Vec<Repository>,
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
    pub(crate) file: PathBuf,
}

/// Where walmgr3 kept its things on this host, for `adopt`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Legacy {
    /// `walmgr_data`.
    pub(crate) top: Option<PathBuf>,
    /// `completed_wals`.
    pub(crate) complete: Option<PathBuf>,
    /// `partial_wals`.
    pub(crate) partial: Option<PathBuf>,
    /// `full_backup`.
    pub(crate) backup: Option<PathBuf>,
    /// `config_backup`.
    pub(crate) config: Option<PathBuf>,
}

/// The cluster on this host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// Data directory.
    pub(crate) data: Option<PathBuf>,
    /// Directory of `pg_ctl` and the others; else the search path.
    pub(crate) bin: Option<PathBuf>,
    /// Connection string of a superuser, key/value form or URI.
    pub(crate) connect: Option<String>,
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

/// How backups are taken.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// Threads that read, compress and write.
    pub(crate) jobs: usize,
    /// How long to wait for the last WAL segments to be archived.
    #[serde(deserialize_with = "duration")]
    pub(crate) archive_timeout: Duration,
    /// Begin with an immediate checkpoint instead of a spread one.
    pub(crate) fast_checkpoint: bool,
}

/// How long backups are kept.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Expire {
    /// Keep this many newest backups.
    pub(crate) keep: Option<usize>,
    /// Keep what is needed to restore to any time in this last span.
    #[serde(deserialize_with = "opt_duration")]
    pub(crate) window: Option<Duration>,
    /// Keep the newest backup of each of this many last days that have one.
    pub(crate) daily: Option<usize>,
    /// The same of weeks, which begin on Monday.
    pub(crate) weekly: Option<usize>,
    /// The same of months.
    pub(crate) monthly: Option<usize>,
    /// The same of years.
    pub(crate) yearly: Option<usize>,
    /// Where days begin at midnight; else UTC.
    #[serde(deserialize_with = "opt_zone")]
    pub(crate) time_zone: Option<TimeZone>,
}

/// How much of network, disk and processor is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Bytes a second between `backup` and the repository.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) backup: Option<u64>,
    /// The same of all that stores WAL.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) archive: Option<u64>,
    /// The same of `restore`.
    #[serde(deserialize_with = "opt_rate")]
    pub(crate) restore: Option<u64>,
    /// How much a backup's priority for the processor is lowered, 0 to 19.
    pub(crate) nice: u8,
    /// A backup uses disks only when nobody else does.
    pub(crate) idle_io: bool,
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

/// The resident process.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Daemon {
    /// Its Unix socket; else `walmgr.sock` in the data directory.
    pub(crate) socket: Option<PathBuf>,
    /// Threads that store, and threads that fetch.
    pub(crate) jobs: usize,
    /// How many files are stored before they are asked for.
    pub(crate) ahead: usize,
    /// How many segments are fetched before they are asked for.
    pub(crate) prefetch: usize,
}

/// Receiving WAL as it is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Streaming {
    /// Where the growing segment is kept.
    pub(crate) directory: Option<PathBuf>,
    /// Replication slot; else `walmgr_STANZA`.
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

impl Default for Daemon {
    fn default() -> Self {
        Self { socket: None, jobs: 4, ahead: 64, prefetch: 8 }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { jobs: 2, archive_timeout: Duration::from_secs(60), fast_checkpoint: true }
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
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => " (walmgr init writes one, --config names another)",
                _ => "",
            };
            Error::Usage(format!("{}: {error}{hint}", path.display()))
        })?;
        let mut config = Self::parse(&text, &path)?;
        stanza::check_name(&config.stanza)?;
        repository::check(&config.repositories)?;
        for repository in config.repositories.clone() {
            config.repository = repository;
            config.check_bounds()?;
        }
        config.select_first();
        config.file = path;
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
        self.others = self.repositories.clone();
        self.others.retain(|other| other.name != name);
        self.repositories.retain(|other| other.name == name);
        if self.repositories.is_empty() {
            return Err(Error::Usage(format!(
                "there is no repository \"{name}\", but {}",
                names.join(", ")
            )));
        }
        self.select_first();
        Ok(())
    }

    /// Refuse numbers that would be taken for others, or for nothing.
    fn check_bounds(&self) -> Result<()> {
        let number = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        // What is not set is within any bounds.
        let optional = |value: Option<usize>| value.map_or(1, number);
        let expire = &self.expire;
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let timeout = match self.repository.location()? {
            Location::S3(s3) => millis(s3.timeout),
            Location::Gcs(gcs) => millis(gcs.timeout),
            Location::Azure(azure) => millis(azure.timeout),
            Location::Ssh(ssh) => millis(ssh.timeout),
            Location::Directory(_) => 1,
        };
        let bounds = [
            ("repository.level", i64::from(self.repository.level), 1..=22, ""),
            ("repository.patience", millis(self.repository.patience), 1..=3_600_000, " ms"),
            ("repository timeout", timeout, 1..=3_600_000, " ms"),
            ("limits.nice", self.limits.nice.into(), 0..=19, ""),
            ("backup.jobs", number(self.backup.jobs), 1..=256, ""),
            ("daemon.jobs", number(self.daemon.jobs), 1..=64, ""),
            ("daemon.ahead", number(self.daemon.ahead), 0..=10_000, ""),
            ("daemon.prefetch", number(self.daemon.prefetch), 0..=1_000, ""),
            ("expire.keep", optional(expire.keep), 1..=1_000_000, ""),
            ("expire.daily", optional(expire.daily), 1..=100_000, ""),
            ("expire.weekly", optional(expire.weekly), 1..=100_000, ""),
            ("expire.monthly", optional(expire.monthly), 1..=100_000, ""),
            ("expire.yearly", optional(expire.yearly), 1..=100_000, ""),
        ];
        for (name, value, bounds, unit) in bounds {
            if !bounds.contains(&value) {
                return Err(Error::Usage(format!(
                    "{name} is {value}{unit}, and may be {} to {}",
                    bounds.start(),
                    bounds.end()
                )));
            }
        }
        Ok(())
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        if ini::looks_like_ini(text) {
            return ini::parse(text, path);
        }
        let mut config: Self = toml::from_str(text)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        config.select_first();
        Ok(config)
    }

    /// The codec that new objects are written with.
    pub(crate) fn codec(&self) -> Codec {
        match self.repository.compression {
            Compression::Zstd => Codec::Zstd(self.repository.level),
            Compression::Lz4 => Codec::Lz4,
            Compression::None => Codec::None,
        }
    }

    /// The data directory.
    ///
    /// # Errors
    /// [`Error::Usage`] when the file does not name one.
    pub(crate) fn data(&self) -> Result<&Path> {
        self.cluster.data.as_deref().ok_or_else(|| {
            Error::Usage(format!("{}: cluster.data is not set", self.file.display()))
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
            Error::Usage(format!("{}: cluster.connect is not set", self.file.display()))
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

    use super::{Compression, Config};

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
            Config::parse(&text, Path::new("x")).and_then(|config| config.check_bounds())
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
