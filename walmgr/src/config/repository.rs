//! Where a repository is: a directory, a directory of another host, or an object store; and how
//! objects are compressed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::value::duration;
use crate::error::{Error, Result};

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
