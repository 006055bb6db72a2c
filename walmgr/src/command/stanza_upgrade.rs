//! `stanza-upgrade`: after pg_upgrade, let the stanza take the new cluster's WAL and backups beside
//! those of the old one.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{control, sql, standby};
use crate::repo::LockMode;

/// Upgrade the stanza to the system that the server is.
pub(crate) fn run(context: &Context) -> Result<()> {
    let stanza = context.stanza()?;
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    let new = sql::stanza_info(&mut client)?;
    let old = &stanza.info;
    if new.system_identifier == old.system_identifier {
        log::notice(format_args!(
            "stanza \"{}\" is for system {} already",
            stanza.title, old.system_identifier
        ));
        return Ok(());
    }
    // What it had before comes back no more: two clusters would archive into one history.
    if stanza.earlier().any(|other| other.system_identifier == new.system_identifier) {
        return stanza.check_system(new.system_identifier);
    }
    if new.pg_version < old.pg_version {
        return Err(Error::Mismatch(format!(
            "the server is PostgreSQL {}, stanza \"{}\" is for PostgreSQL {}: no upgrade goes there",
            new.pg_version, stanza.title, old.pg_version
        )));
    }
    if standby::in_recovery(&mut client)? {
        return Err(Error::Server("the server is a standby: ask its primary".to_owned()));
    }
    let data = context.config.data()?;
    if control::system_identifier(data)? != Some(new.system_identifier) {
        return Err(Error::Mismatch(format!(
            "the server is system {}, and {} is not of it",
            new.system_identifier,
            data.display()
        )));
    }
    if context.dry_run {
        log::print(format_args!(
            "would upgrade stanza \"{}\" from system {} (PostgreSQL {}) to system {} (PostgreSQL {})",
            stanza.title,
            old.system_identifier,
            old.pg_version,
            new.system_identifier,
            new.pg_version
        ));
        return Ok(());
    }
    // No backup of the old system may be under way.
    let _backup = stanza.store.lock(&stanza.key("locks/backup"), LockMode::Exclusive)?;
    stanza.upgrade(&new)?;
    log::notice(format_args!(
        "stanza \"{}\" is for system {} (PostgreSQL {}) now, and takes no WAL of system {} any more; \
         now walmgr setup, then walmgr backup",
        stanza.title, new.system_identifier, new.pg_version, old.system_identifier
    ));
    Ok(())
}
