//! What the registry says about a kind of service.

use std::path::PathBuf;

use pgq_client::{Error, Section};

/// A section of the registry, beside [scriptmgr].
#[derive(Clone, Debug, Default)]
pub(super) struct Kind {
    pub(super) name: String,
    pub(super) disabled: bool,
    /// A program in the place of `pgq run`.
    pub(super) script: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) args: String,
    pub(super) user: Option<String>,
}

impl Kind {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, Error> {
        let value = |key: &str| -> Result<Option<String>, Error> {
            Ok(section.get(key)?.filter(|value| !value.is_empty()))
        };
        Ok(Self {
            name: section.name().to_owned(),
            disabled: section.boolean("disabled")?.unwrap_or(false),
            script: value("script")?,
            cwd: value("cwd")?.map(PathBuf::from),
            args: value("args")?.unwrap_or_default(),
            user: value("user")?,
        })
    }
}
