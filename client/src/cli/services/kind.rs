//! What the registry says about a kind of service.

use std::path::PathBuf;

use pgq_client::Error;
use pgq_ini::Section;

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
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        Ok(Self {
            name: section.name().to_owned(),
            disabled: section.boolean("disabled")?.unwrap_or(false),
            script: section.take("script")?,
            cwd: section.take("cwd")?.map(PathBuf::from),
            args: section.take("args")?.unwrap_or_default(),
            user: section.take("user")?,
        })
    }
}
