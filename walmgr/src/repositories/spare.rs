//! Other repositories that have the same backup: a restore that meets damage, or one that is away,
//! reads on from them.

use crate::backup::info::{self, BackupInfo};
use crate::backup::manifest::{self, Manifest};
use crate::context::{Context, Use};
use crate::error::Result;
use crate::log;
use crate::repo::Lock;
use crate::repo::stanza::Stanza;

/// Another repository with the same backup, which is not expired meanwhile.
pub(crate) struct Spare {
    /// What it has of the backup's system.
    pub(crate) stanza: Stanza,
    _lock: Option<Box<dyn Lock>>,
}

/// Those of the other repositories that have a backup, with the same manifest. One that does not
/// answer is none.
pub(crate) fn all(context: &Context, backup: &BackupInfo) -> Vec<Spare> {
    let others = context.each().into_iter().filter(|one| one.repository() != context.repository());
    let found = others.map(|one| {
        spare(&one, backup).unwrap_or_else(|error| {
            log::debug(error.in_repository(one.repository()));
            None
        })
    });
    found.flatten().collect()
}

fn spare(one: &Context, backup: &BackupInfo) -> Result<Option<Spare>> {
    let Ok(system) = backup.system_identifier.parse() else { return Ok(None) };
    let stanza = one.limited(one.stanza()?.of(system)?, Use::Restore);
    let lock = one.reading(&stanza)?;
    let same = info::load(&stanza, &backup.id)?.manifest_hash == backup.manifest_hash;
    Ok(same.then_some(Spare { stanza, _lock: lock }))
}

/// The manifest of a backup, from whichever has it whole.
///
/// # Errors
/// That of the backup's own repository.
pub(crate) fn manifest(stanza: &Stanza, spares: &[Spare], backup: &BackupInfo) -> Result<Manifest> {
    let load = |stanza: &Stanza| manifest::load(stanza, &backup.id, &backup.manifest_hash);
    load(stanza).or_else(|error| {
        let Some(found) = spares.iter().find_map(|spare| load(&spare.stanza).ok()) else {
            return Err(error);
        };
        log::warning(format_args!("{error}; it is read from another repository"));
        Ok(found)
    })
}
