//! `repository.s3`: where the bucket is, and whose keys open it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::value::duration;

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
    /// Where keys come from.
    #[serde(default)]
    pub(crate) credentials: From,
    /// Key; else `AWS_ACCESS_KEY_ID`.
    pub(crate) access_key: Option<String>,
    /// File with the secret; else `AWS_SECRET_ACCESS_KEY`.
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Profile of the shared files; else `AWS_PROFILE`, else `default`.
    pub(crate) profile: Option<String>,
    /// Retention of new objects.
    object_lock: Option<Retention>,
    /// Send large objects in parts.
    #[serde(default = "default_multipart")]
    pub(crate) multipart: bool,
    /// How long a connection, an answer, or the next bytes of one may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// The first of the others that is set up, in their order here.
    #[default]
    Auto,
    /// `access_key` and `secret_key_file`.
    Static,
    /// `AWS_ACCESS_KEY_ID` and so on.
    Environment,
    /// A token in a file, for which STS gives keys: IRSA.
    WebIdentity,
    /// `~/.aws/credentials` and `~/.aws/config`.
    Profile,
    /// What ECS and EKS give to a container.
    Container,
    /// What EC2 gives to an instance: IMDSv2.
    Instance,
}

/// `repository.s3.object_lock`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    /// Who may remove an object before its time: with `compliance` nobody.
    pub(super) mode: Mode,
    /// For how many days.
    pub(super) days: u16,
}

/// Who may end a retention early.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Those with a right of their own.
    Governance,
    /// Nobody.
    Compliance,
}

impl S3 {
    /// Retention of new objects, within bounds.
    ///
    /// # Errors
    /// [`Error::Usage`] for one that is out of bounds.
    pub(super) fn retention(&self) -> Result<Option<Retention>> {
        match &self.object_lock {
            Some(Retention { days, .. }) if !(1..=3650).contains(days) => Err(Error::Usage(
                format!("repository.s3.object_lock.days is {days}, and may be 1 to 3650"),
            )),
            lock => Ok(lock.clone()),
        }
    }
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "s3://{}/{}", self.bucket, self.prefix)
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
