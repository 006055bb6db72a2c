//! `sync`: bring the spool up to the server's current position, once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Config;
use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{sql, standby};
use crate::sync::receiver::{self, Receiver};
use crate::sync::spool;
use crate::wal::lsn::Lsn;

/// Receive up to now, and store what is whole.
pub(crate) fn run(context: &Context) -> Result<()> {
    let spool = directory(context)?;
    let stanza = context.limited(context.stanza()?, Use::Archive);
    let mut client = sql::connect(context.transport, receiver::conninfo(context)?)?;
    stanza.check_system(sql::stanza_info(&mut client)?.system_identifier)?;
    let query = "select pg_catalog.pg_current_wal_flush_lsn()::text";
    let position: Lsn = client.query_one(query, &[])?.get::<_, String>(0).parse()?;
    if context.dry_run {
        log::print(format_args!("would receive WAL up to {position} into {}", spool.display()));
        return Ok(());
    }
    let _lock = lock(&spool)?;
    receiver::create_slot(context, &spool)?;
    // The receiver ends once it is beyond the position it is given.
    let reached = Lsn(position.0.saturating_sub(1));
    let mut running = Receiver::start(context, &spool, Some(&reached.to_string()))?;
    let ended = standby::poll(Duration::from_secs(600), || Ok(!running.is_running()?))?;
    if !ended || !running.succeeded()? {
        return Err(Error::Failed(format!("WAL was not received up to {position}")));
    }
    spool::ship(context, &spool)?;
    log::notice(format_args!("WAL is here up to {position}"));
    Ok(())
}

/// The spool directory, which exists then.
pub(crate) fn directory(context: &Context) -> Result<PathBuf> {
    let directory = named(&context.config)?.to_owned();
    if !context.dry_run {
        std::fs::create_dir_all(&directory)
            .map_err(Error::local(format!("create {}", directory.display())))?;
    }
    Ok(directory)
}

/// The spool directory of a configuration.
pub(crate) fn named(config: &Config) -> Result<&Path> {
    let directory = config.sync.directory.as_deref();
    directory.ok_or_else(|| Error::Usage("sync.directory is not set".to_owned()))
}

/// One receiver per spool.
pub(crate) fn lock(spool: &Path) -> Result<std::fs::File> {
    let path = spool.join("walmgr.sync.lock");
    let what = || Error::local(format!("lock {}", path.display()));
    let file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(what())?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::Locked(format!("another walmgr receives into {}", spool.display())))?;
    Ok(file)
}
