//! `repository.azure`: where the container is, and what opens it.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::value::duration;

/// Azure Blob Storage.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Azure {
    /// Storage account.
    pub(crate) account: String,
    /// Container, which exists.
    pub(crate) container: String,
    /// Part of the container.
    #[serde(default)]
    pub(crate) prefix: String,
    /// URL of the account's blobs; else `https://ACCOUNT.blob.core.windows.net`.
    pub(crate) endpoint: Option<String>,
    /// What opens it.
    #[serde(default)]
    pub(crate) credentials: From,
    /// File with a key of the account; else `AZURE_STORAGE_KEY`.
    pub(crate) account_key_file: Option<PathBuf>,
    /// File with a shared access signature; else `AZURE_STORAGE_SAS_TOKEN`.
    pub(crate) sas_file: Option<PathBuf>,
    /// Which managed identity, of several; else `AZURE_CLIENT_ID`.
    pub(crate) client_id: Option<String>,
    /// Send large objects in parts.
    #[serde(default = "default_multipart")]
    pub(crate) multipart: bool,
    /// How long a connection, an answer, or the next bytes of one may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) timeout: Duration,
}

/// What opens a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum From {
    /// The first of the others that is set up, in their order here.
    #[default]
    Auto,
    /// A key of the account.
    SharedKey,
    /// A shared access signature.
    Sas,
    /// A token in a file, for which Entra ID gives another: workload identity on AKS.
    WorkloadIdentity,
    /// The identity of a virtual machine.
    ManagedIdentity,
}

impl std::fmt::Debug for Azure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "azure://{}/{}/{}", self.account, self.container, self.prefix)
    }
}

fn default_multipart() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}
