//! `repository.gcs`: where the bucket is, and whose account opens it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::value::duration;

/// Google Cloud Storage.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gcs {
    /// Bucket, which exists.
    pub(crate) bucket: String,
    /// Part of the bucket.
    #[serde(default)]
    pub(crate) prefix: String,
    /// URL of the service.
    #[serde(default = "default_endpoint")]
    pub(crate) endpoint: String,
    /// Where tokens come from.
    #[serde(default)]
    pub(crate) credentials: From,
    /// JSON file with the key of a service account; else `GOOGLE_APPLICATION_CREDENTIALS`.
    pub(crate) service_account_file: Option<PathBuf>,
    /// Send large objects in parts.
    #[serde(default = "default_multipart")]
    pub(crate) multipart: bool,
    /// How long a connection, an answer, or the next bytes of one may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

/// Where tokens come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// A service account's file where one is named, else the metadata server.
    #[default]
    Auto,
    /// A service account's file.
    ServiceAccount,
    /// The metadata server of Compute Engine, and of GKE's workload identity.
    Metadata,
}

impl std::fmt::Debug for Gcs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "gs://{}/{}", self.bucket, self.prefix)
    }
}

fn default_endpoint() -> String {
    "https://storage.googleapis.com".to_owned()
}

fn default_multipart() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}
