//! `check`: whether archiving works, from the server through walmgr into the repository. The exit code tells what does not.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;

use crate::backup::info;
use crate::command::setup;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{sql, standby};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds to wait for a segment to arrive.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// Also fail when the newest backup is older than this, such as 26h or 7d.
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    max_backup_age: Option<Duration>,
}

/// Check.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let stanza = context.stanza()?;
    log::print(format_args!("ok: stanza \"{}\" in {}", stanza.name, stanza.store.describe()));
    let mut client = sql::connect(context.config.connect()?)?;
    stanza.check_system(sql::stanza_info(&mut client)?.system_identifier)?;
    log::print(format_args!("ok: the server is system {}", stanza.info.system_identifier));
    check_settings(&mut client)?;
    if standby::in_recovery(&mut client)? {
        log::print("ok: the server is a standby, so nothing is archived");
    } else if context.dry_run {
        log::print("would switch to a new segment and wait for the old one");
    } else {
        setup::prove(context, &mut client, Duration::from_secs(args.timeout))?;
        log::print("ok: a segment went through the archiver into the repository");
    }
    let newest = info::list(&stanza)?.into_iter().next_back();
    match (&newest, args.max_backup_age) {
        (Some(backup), Some(limit)) => {
            let age = Timestamp::now().duration_since(backup.stop_time);
            if age.unsigned_abs() > limit && age.is_positive() {
                return Err(Error::Failed(format!(
                    "the newest backup, {}, is from {}",
                    backup.id, backup.stop_time
                )));
            }
        }
        (None, Some(_)) => return Err(Error::NotFound("there is no backup".to_owned())),
        _ => {}
    }
    match newest {
        Some(backup) => {
            log::print(format_args!("ok: newest backup {} from {}", backup.id, backup.stop_time))
        }
        None => log::warning("there is no backup yet (walmgr backup)"),
    }
    Ok(())
}

fn check_settings(client: &mut Client) -> Result<()> {
    let mut fix = Vec::new();
    if sql::setting(client, "archive_mode")? == "off" {
        fix.push("archive_mode is off");
    }
    if sql::archiver(client)? != sql::Archiver::Walmgr {
        fix.push("neither archive_command nor archive_library is walmgr's");
    }
    if sql::setting(client, "wal_level")? == "minimal" {
        fix.push("wal_level is minimal");
    }
    if sql::setting(client, "full_page_writes")? == "off" {
        log::warning(
            "full_page_writes is off: backups of a standby are refused, others may be torn",
        );
    }
    if sql::setting(client, "fsync")? == "off" {
        log::warning("fsync is off: a crash of the server may lose what a backup would have saved");
    }
    if fix.is_empty() {
        log::print("ok: the server's settings");
        return Ok(());
    }
    Err(Error::Usage(format!("{} (walmgr setup)", fix.join("; "))))
}

fn parse_age(text: &str) -> std::result::Result<Duration, String> {
    crate::config::value::parse_duration(text)
        .ok_or_else(|| format!("\"{text}\" is no duration such as 26h or 7d"))
}
