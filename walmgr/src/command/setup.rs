//! `setup`: create the repository and stanza, make the server archive to it, and prove that it does.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::sql;
use crate::repo::Created;
use crate::repo::stanza::Stanza;
use crate::repo::wal;

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Create repository and stanza only; leave the server's settings alone.
    #[arg(long)]
    repository_only: bool,
}

/// Wire a server to the repository.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut client = sql::connect(context.config.connect()?)?;
    let info = sql::stanza_info(&mut client)?;
    let place = context.config.repository.location()?;
    let stanza_name = &context.config.stanza;
    if context.dry_run {
        log::print(format_args!("would create stanza \"{stanza_name}\" in {place}"));
    } else {
        let (_, created) = Stanza::create(context.init_store()?, stanza_name, &info)?;
        if created == Created::New {
            log::notice(format_args!("stanza \"{stanza_name}\" created in {place}"));
        }
    }
    if args.repository_only {
        return Ok(());
    }
    let command = context.archive_command()?;
    let mut settings = vec![("archive_command", command)];
    if sql::setting(&mut client, "archive_mode")? == "off" {
        settings.push(("archive_mode", "on".to_owned()));
    }
    if sql::setting(&mut client, "wal_level")? == "minimal" {
        settings.push(("wal_level", "replica".to_owned()));
    }
    for (name, value) in &settings {
        if sql::setting(&mut client, name)? != *value {
            sql::alter_system(context, &mut client, name, Some(value))?;
        }
    }
    if context.dry_run {
        return Ok(());
    }
    sql::reload(&mut client)?;
    let pending = sql::pending_restart(&mut client)?;
    if !pending.is_empty() {
        let Some(restart) = &context.config.commands.restart else {
            log::warning(format_args!(
                "restart the server for {} to take effect, then run walmgr check",
                pending.join(", ")
            ));
            return Ok(());
        };
        drop(client);
        crate::process::shell(restart)?;
        client = sql::connect(context.config.connect()?)?;
    }
    prove(context, &mut client, Duration::from_secs(60))
}

/// Switch to a new segment, and wait until the old one is in the repository.
///
/// # Errors
/// [`Error::Failed`] with the archiver's last failure when it does not come.
pub(crate) fn prove(context: &Context, client: &mut Client, patience: Duration) -> Result<()> {
    let stanza = context.stanza()?;
    let info = sql::stanza_info(client)?;
    stanza.check_system(info.system_identifier)?;
    let segment = sql::switch_wal(client, info.wal_segment_size)?;
    let end = Instant::now() + patience;
    while !wal::has_segment(&stanza, segment)? {
        if Instant::now() > end {
            let row = client.query_one(
                "select a.last_failed_wal, a.failed_count from pg_catalog.pg_stat_archiver a",
                &[],
            )?;
            let last: Option<String> = row.get(0);
            return Err(Error::Failed(format!(
                "segment {} did not arrive in the repository; last failure of the archiver: {} ({} in all), \
                 see the server's log",
                segment.name(info.wal_segment_size),
                last.unwrap_or_else(|| "none".to_owned()),
                row.get::<_, i64>(1)
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    log::notice(format_args!(
        "segment {} went through the archiver into the repository",
        segment.name(info.wal_segment_size)
    ));
    Ok(())
}
