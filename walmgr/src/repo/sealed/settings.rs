//! `repository.encryption`: where the key of an encrypted repository comes from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::value::duration;

/// What opens the repository. One of the four.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    /// A file that `walmgr key generate` made.
    pub(crate) key_file: Option<PathBuf>,
    /// A command that prints what such a file has.
    pub(crate) key_command: Option<String>,
    /// A file whose first line is a passphrase.
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A command that prints a passphrase.
    pub(crate) passphrase_command: Option<String>,
    /// How long the command may take.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub(crate) command_timeout: Duration,
}

/// Where it comes from.
pub(super) enum From<'a> {
    KeyFile(&'a Path),
    KeyCommand(&'a str),
    PassphraseFile(&'a Path),
    PassphraseCommand(&'a str),
}

impl Encryption {
    /// Where the key comes from.
    ///
    /// # Errors
    /// [`Error::Usage`] unless that is one place.
    pub(super) fn from(&self) -> Result<From<'_>> {
        let mut given = [
            self.key_file.as_deref().map(From::KeyFile),
            self.key_command.as_deref().map(From::KeyCommand),
            self.passphrase_file.as_deref().map(From::PassphraseFile),
            self.passphrase_command.as_deref().map(From::PassphraseCommand),
        ]
        .into_iter()
        .flatten();
        match (given.next(), given.next()) {
            (Some(one), None) => Ok(one),
            _ => Err(Error::Usage(
                "repository.encryption: one of key_file, key_command, passphrase_file and \
                 passphrase_command must be set"
                    .to_owned(),
            )),
        }
    }
}

impl std::fmt::Debug for Encryption {
    /// Without the commands: they may have secrets in them.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Encryption")
            .field("key_file", &self.key_file)
            .field("passphrase_file", &self.passphrase_file)
            .finish_non_exhaustive()
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
}
