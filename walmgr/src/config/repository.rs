//! Where a repository is: a directory, a directory of another host, or an object store; and how
//! objects are compressed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::value::duration;
use crate::error::{Error, Result};
use crate::repo::azure::Azure;
use crate::repo::gcs::Gcs;
use crate::repo::s3::S3;

/// Where WAL and backups go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repository {
    /// A directory, best on another machine's disk.
    pub(crate) path: Option<PathBuf>,
    /// Or an object store.
    pub(crate) s3: Option<S3>,
    /// Or Google's.
    pub(crate) gcs: Option<Gcs>,
    /// Or Microsoft's.
    pub(crate) azure: Option<Azure>,
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

/// Where a repository is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Location<'a> {
    /// In a directory.
    Directory(&'a Path),
    /// In an object store.
    S3(&'a S3),
    /// In Google's object store.
    Gcs(&'a Gcs),
    /// In Microsoft's object store.
    Azure(&'a Azure),
    /// On another host.
    Ssh(&'a Ssh),
}

impl Repository {
    /// Where it is.
    ///
    /// # Errors
    /// [`Error::Usage`] unless it is at one place.
    pub(crate) fn location(&self) -> Result<Location<'_>> {
        let mut places = [
            self.path.as_deref().map(Location::Directory),
            self.s3.as_ref().map(Location::S3),
            self.gcs.as_ref().map(Location::Gcs),
            self.azure.as_ref().map(Location::Azure),
            self.ssh.as_ref().map(Location::Ssh),
        ]
        .into_iter()
        .flatten();
        match (places.next(), places.next()) {
            (Some(Location::Directory(path)), None) if !path.is_absolute() => {
                Err(Error::Usage(format!("repository.path \"{}\" is not absolute", path.display())))
            }
            (Some(place), None) => Ok(place),
            _ => Err(Error::Usage(
                "one of repository.path, .ssh, .s3, .gcs and .azure must be set".to_owned(),
            )),
        }
    }
}

impl std::fmt::Display for Location<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(out, "{}", path.display()),
            Self::S3(s3) => write!(out, "{s3:?}"),
            Self::Gcs(gcs) => write!(out, "{gcs:?}"),
            Self::Azure(azure) => write!(out, "{azure:?}"),
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
