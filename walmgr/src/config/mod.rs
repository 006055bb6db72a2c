//! The configuration: one struct, read from TOML ([`toml`]) or from an INI file of walmgr3 ([`ini`]).

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::log::Facility;
use crate::repo::object::Codec;
use crate::repo::stanza;

pub(crate) mod ini;
pub(crate) mod value;

use value::{duration, opt_duration};

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
    pub(crate) repository: Repository,
    /// Behaviour of archive-push and archive-get.
    #[serde(default)]
    pub(crate) archive: Archive,
    /// How backups are taken.
    #[serde(default)]
    pub(crate) backup: Backup,
    /// How long backups are kept.
    #[serde(default)]
    pub(crate) expire: Expire,
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

/// Where WAL and backups go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repository {
    /// A directory, best on another machine's disk.
    pub(crate) path: Option<PathBuf>,
    /// Or an object store.
    pub(crate) s3: Option<S3>,
    /// Or a directory of another host.
    pub(crate) ssh: Option<Ssh>,
    /// `zstd`, `lz4` or `none`.
    #[serde(default)]
    pub(crate) compression: Compression,
    /// Level for zstd.
    #[serde(default = "default_level")]
    pub(crate) level: i32,
}

/// A directory of another host that has walmgr too.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ssh {
    /// `HOST` or `USER@HOST`.
    pub(crate) host: String,
    /// The directory over there.
    pub(crate) path: PathBuf,
    /// What connects: a program and its options; host and remote command follow.
    #[serde(default = "default_ssh")]
    pub(crate) command: String,
    /// walmgr over there.
    #[serde(default = "default_program")]
    pub(crate) program: String,
    /// How long a connection may take; ten times that for an answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "ssh://{}{}", self.host, self.path.display())
    }
}

impl Ssh {
    /// With the defaults of all but the place.
    pub(crate) fn new(host: &str, path: PathBuf) -> Self {
        Self {
            host: host.to_owned(),
            path,
            command: default_ssh(),
            program: default_program(),
            timeout: default_timeout(),
        }
    }
}

/// An S3-compatible object store.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3 {
    /// URL of the service.
    pub(crate) endpoint: String,
    /// Bucket, which exists.
    pub(crate) bucket: String,
    /// Part of the bucket.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Region, for signatures.
    #[serde(default = "default_region")]
    pub(crate) region: String,
    /// The bucket is part of the path instead of the host name.
    #[serde(default)]
    pub(crate) path_style: bool,
    /// Key; else `AWS_ACCESS_KEY_ID`.
    pub(crate) access_key: Option<String>,
    /// File with the secret; else `AWS_SECRET_ACCESS_KEY`.
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Send large objects in parts.
    #[serde(default = "default_multipart")]
    pub(crate) multipart: bool,
    /// How long a connection, an answer, or the next bytes of one may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl S3 {
    /// Access key and secret.
    ///
    /// # Errors
    /// [`Error::Usage`] when there are none.
    pub(crate) fn keys(&self) -> Result<(String, String)> {
        let missing = |what: &str| Error::Usage(format!("{what} is not set"));
        let key = self.access_key.clone().or_else(|| std::env::var("AWS_ACCESS_KEY_ID").ok());
        let secret = match &self.secret_key_file {
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .map_err(|error| Error::Usage(format!("{}: {error}", file.display())))?
                    .trim()
                    .to_owned(),
            ),
            None => std::env::var("AWS_SECRET_ACCESS_KEY").ok(),
        };
        Ok((
            key.ok_or_else(|| missing("repository.s3.access_key"))?,
            secret.ok_or_else(|| missing("repository.s3.secret_key_file"))?,
        ))
    }
}

/// Where a repository is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Location<'a> {
    /// In a directory.
    Directory(&'a Path),
    /// In an object store.
    S3(&'a S3),
    /// On another host.
    Ssh(&'a Ssh),
}

impl Repository {
    /// Where it is.
    ///
    /// # Errors
    /// [`Error::Usage`] unless it is at one place.
    pub(crate) fn location(&self) -> Result<Location<'_>> {
        match (&self.path, &self.s3, &self.ssh) {
            (Some(path), None, None) if path.is_absolute() => Ok(Location::Directory(path)),
            (Some(path), None, None) => {
                Err(Error::Usage(format!("repository.path \"{}\" is not absolute", path.display())))
            }
            (None, Some(s3), None) => Ok(Location::S3(s3)),
            (None, None, Some(ssh)) => Ok(Location::Ssh(ssh)),
            _ => Err(Error::Usage("one of repository.path, .ssh and .s3 must be set".to_owned())),
        }
    }
}

impl std::fmt::Display for Location<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(out, "{}", path.display()),
            Self::S3(s3) => write!(out, "{s3:?}"),
            Self::Ssh(ssh) => write!(out, "{ssh:?}"),
        }
    }
}

/// Name of a codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// Zstandard.
    #[default]
    Zstd,
    /// LZ4.
    Lz4,
    /// No compression.
    None,
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

/// Where messages go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// To standard error, syslog, or both.
    pub(crate) to: LogTo,
    /// Socket of the syslog daemon.
    pub(crate) socket: PathBuf,
    /// Facility of messages.
    pub(crate) facility: Facility,
    /// What they are from.
    pub(crate) ident: String,
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogTo {
    /// Standard error.
    Stderr,
    /// The syslog daemon.
    Syslog,
    /// Both.
    Both,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            to: LogTo::Stderr,
            socket: PathBuf::from("/dev/log"),
            facility: Facility::Daemon,
            ident: "walmgr".to_owned(),
        }
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self { get_timeout: Duration::from_secs(60), standby_get_timeout: Duration::from_secs(5) }
    }
}

impl Default for Daemon {
    fn default() -> Self {
        Self { socket: None, jobs: 4, ahead: 16, prefetch: 8 }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { jobs: 2, archive_timeout: Duration::from_secs(60), fast_checkpoint: true }
    }
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn default_multipart() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_ssh() -> String {
    "ssh -T -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10".to_owned()
}

fn default_program() -> String {
    "walmgr".to_owned()
}

fn default_level() -> i32 {
    3
}

impl Config {
    /// Read a configuration file: an INI with section `[walmgr]`, or TOML.
    ///
    /// # Errors
    /// [`Error::Usage`] with the place in the file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Error::Usage(format!("{}: {error}", path.display())))?;
        let mut config = Self::parse(&text, &path)?;
        stanza::check_name(&config.stanza)?;
        config.repository.location()?;
        config.backup.jobs = config.backup.jobs.clamp(1, 256);
        config.file = path;
        Ok(config)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        if ini::looks_like_ini(text) {
            return ini::parse(text, path);
        }
        toml::from_str(text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
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
        let beside = || self.cluster.data.as_ref().map(|data| data.join("walmgr.sock"));
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
    fn unknown_keys_are_refused() {
        let text = "stanza = 'main'\n[repository]\npath = '/r'\nspeed = 1\n";
        let error = Config::parse(text, Path::new("w.toml")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("speed"), "{error}");
    }
}
