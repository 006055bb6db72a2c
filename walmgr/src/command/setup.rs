//! `setup`: create the repository and stanza, make the server archive to it, and prove that it
//! does.

use std::time::{Duration, Instant};

use postgres::Client;
use walmgr_protocol::SOCKET;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::sql;
use crate::programs;
use crate::repo::Created;
use crate::repo::stanza::{Stanza, StanzaInfo};
use crate::repo::wal;

/// Arguments of `setup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Create repository and stanza only; leave the server's settings alone.
    #[arg(long)]
    repository_only: bool,
    /// Make the server archive through its archive_library instead of a command: faster with a
    /// daemon, from PostgreSQL 15 on.
    #[arg(long, conflicts_with = "repository_only")]
    library: bool,
}

/// Wire a server to the repository.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    let info = sql::stanza_info(&mut client)?;
    let has_archived = has_archived(context, &mut client)?;
    for one in context.each() {
        let refused = if has_archived { not_mounted(&one) } else { Ok(()) };
        refused.and_then(|()| create(&one, &info)).map_err(|error| match context.is_alone() {
            true => error,
            false => error.in_repository(one.repository()),
        })?;
    }
    if args.repository_only {
        return Ok(());
    }
    let mut settings = archiver(context, &mut client, &info, args.library)?;
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
                "a restart is pending for {}: restart the server, then run walmgr check",
                pending.join(", ")
            ));
            return Ok(());
        };
        drop(client);
        crate::process::shell(restart)?;
        client = sql::connect(context.transport, context.config.connect()?)?;
    }
    prove(context, &mut client, Duration::from_secs(60))
}

/// The settings that make the archiver walmgr's. Command and library exclude each other.
fn archiver(
    context: &Context,
    client: &mut Client,
    info: &StanzaInfo,
    library: bool,
) -> Result<Vec<(&'static str, String)>> {
    let none = String::new;
    if !library {
        return Ok(vec![
            ("archive_library", none()),
            ("archive_command", context.archive_command()?),
        ]);
    }
    if let Some(socket) = &context.config.daemon.socket
        && *socket != context.config.data()?.join(SOCKET)
    {
        log::warning(format_args!(
            "daemon.socket is {}: the library looks for the daemon in the data directory only",
            socket.display()
        ));
    }
    if info.pg_version < 15 {
        return Err(Error::Usage(format!(
            "PostgreSQL {} has no archive_library, 15 is the first that has (setup without --library)",
            info.pg_version
        )));
    }
    if !context.dry_run {
        // Its settings can be changed only while it is loaded.
        client.batch_execute(&format!("load '{}'", sql::LIBRARY))?;
    }
    Ok(vec![
        ("walmgr_archive.config", context.config.file.path.display().to_string()),
        ("walmgr_archive.program", programs::walmgr()?.display().to_string()),
        ("archive_command", none()),
        ("archive_library", sql::LIBRARY.to_owned()),
    ])
}

/// True when the server has archived with this configuration, as far as it tells: the repositories
/// are there, then. Its statistics are lost by a crash, so a primary's settings are enough; a
/// standby has its primary's.
fn has_archived(context: &Context, client: &mut Client) -> Result<bool> {
    // Whoever names a repository means it, also a new one.
    if context.config.is_selected() {
        return Ok(false);
    }
    let file = context.config.file.path.display().to_string();
    let is_own = sql::setting(client, "archive_command")? == context.archive_command()?
        || (sql::setting(client, "archive_library")? == sql::LIBRARY
            && sql::setting(client, "walmgr_archive.config")? == file);
    let query = "select a.last_archived_wal is not null or not pg_catalog.pg_is_in_recovery()
                   from pg_catalog.pg_stat_archiver a";
    Ok(is_own && client.query_one(query, &[])?.get(0))
}

/// Refuse to make a repository where one should be: below a mount point whose disk is away.
fn not_mounted(context: &Context) -> Result<()> {
    let name = context.repository();
    context.store().map(drop).map_err(|error| match error {
        Error::Repository { what, source } => Error::Repository {
            what: format!(
                "the server archives already, and its repository is not there (mount it; or, for \
                 a new one, walmgr --repo {name} setup): {what}"
            ),
            source,
        },
        error => error,
    })
}

/// Create the stanza in a context's repository.
fn create(context: &Context, info: &StanzaInfo) -> Result<()> {
    let place = context.config.repository.location()?;
    let stanza_name = &context.config.stanza;
    if context.dry_run {
        log::print(format_args!("would create stanza \"{stanza_name}\" in {place}"));
        return Ok(());
    }
    let (_, created) = Stanza::create(context.init_store()?, stanza_name, info)?;
    if created == Created::New {
        log::notice(format_args!("stanza \"{stanza_name}\" created in {place}"));
    }
    Ok(())
}

/// Switch to a new segment, and wait until the old one is in the repository.
///
/// # Errors
/// [`Error::NotArrived`] with the archiver's last failure when it does not come.
pub(crate) fn prove(context: &Context, client: &mut Client, patience: Duration) -> Result<()> {
    let stanza = context.stanza()?;
    let info = sql::stanza_info(client)?;
    stanza.check_system(info.system_identifier)?;
    let mut segment = sql::switch_wal(client, info.wal_segment_size)?;
    let (begin, mut connected, mut switched) = (Instant::now(), 1, 0);
    while !wal::has_segment(&stanza, segment)? {
        if begin.elapsed() > patience {
            let row = client.query_one(
                "select a.last_failed_wal, a.failed_count from pg_catalog.pg_stat_archiver a",
                &[],
            )?;
            let last: Option<String> = row.get(0);
            return Err(Error::NotArrived(format!(
                "segment {} did not arrive in the repository; last failure of the archiver: {} ({} in all), \
                 see the server's log",
                segment.name(info.wal_segment_size),
                last.unwrap_or_else(|| "none".to_owned()),
                row.get::<_, i64>(1)
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
        if begin.elapsed() > Duration::from_secs(1 << switched)
            && sql::is_archived(client, &segment.name(info.wal_segment_size))?
            && !wal::has_segment(&stanza, segment)?
        {
            // The archiver hears of new settings a moment after they are set, and nothing is
            // archived twice. Ever more rarely, should all go elsewhere.
            log::notice(format_args!(
                "segment {} was archived, and not into the repository: another one is sent",
                segment.name(info.wal_segment_size)
            ));
            segment = sql::switch_wal(client, info.wal_segment_size)?;
            switched += 1;
        }
        if begin.elapsed() > Duration::from_secs(3) * connected {
            // Another archive_library is loaded by a new archiver. The postmaster starts it no
            // sooner than 10 s after the last one, and looks for that once a minute, or when
            // somebody connects.
            drop(sql::connect(context.transport, context.config.connect()?));
            connected += 1;
        }
    }
    log::notice(format_args!(
        "segment {} went through the archiver into the repository",
        segment.name(info.wal_segment_size)
    ));
    Ok(())
}
