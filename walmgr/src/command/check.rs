//! `check`: whether archiving works, from the server through walmgr into the repository. The exit
//! code tells what does not.

use std::time::Duration;

use jiff::Timestamp;
use postgres::Client;

use crate::backup::info::BackupInfo;
use crate::command::setup;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
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
    log::print(format_args!("ok: stanza \"{}\" in {}", stanza.title, stanza.store.describe()));
    for earlier in stanza.earlier() {
        log::print(format_args!(
            "ok: it was for system {} (PostgreSQL {}) before an upgrade",
            earlier.system_identifier, earlier.pg_version
        ));
    }
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
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
    let timeline = standby::timeline(&mut client)?;
    check_backups(&History::load(&stanza)?, timeline, args.max_backup_age)
}

/// Backups count as far as they lead to where the server is.
fn check_backups(history: &History, timeline: u32, limit: Option<Duration>) -> Result<()> {
    let size = history.segment_size;
    if let Some(newest) = history.newest_timeline().filter(|newest| *newest != timeline) {
        log::warning(format_args!(
            "the server is on timeline {timeline}, but the newest in the archive is {newest}: \
             restore needs --timeline {timeline} to follow this server"
        ));
    }
    let on_the_way = match history.has_timeline(timeline) {
        true => history.chain(timeline),
        false => history.backups.iter().collect(),
    };
    for backup in history.backups.iter().filter(|backup| !history.leads(backup, timeline)) {
        log::print(format_args!(
            "backup {} (timeline {}) is not on the way to timeline {timeline}",
            backup.id, backup.timeline
        ));
    }
    let Some(newest) = on_the_way.last() else {
        return match (limit, history.backups.len()) {
            (None, 0) => {
                log::warning("there is no backup yet (walmgr backup)");
                Ok(())
            }
            (_, 0) => Err(Error::NotFound("there is no backup (walmgr backup)".to_owned())),
            _ => Err(Error::NotFound(format!(
                "no backup leads to timeline {timeline}, which the server is on (walmgr backup)"
            ))),
        };
    };
    for range in history.ranges(timeline) {
        log::print(format_args!(
            "ok: can be restored from {} (backup {}) to {}",
            log::time(range.first.stop_time),
            range.first.id,
            range.reach.end
        ));
        if let Some(segment) = range.reach.missing {
            log::warning(format_args!(
                "segment {} is missing in the archive: what follows can be restored only from a later backup",
                segment.name(size)
            ));
        }
    }
    if let Some(segment) = history.first_missing(newest) {
        return Err(Error::Corrupt(format!(
            "the newest backup, {}, cannot be restored: segment {}, which it needs, is missing",
            newest.id,
            segment.name(size)
        )));
    }
    if let Some(segment) = history.reach(newest, timeline).missing {
        return Err(Error::Corrupt(format!(
            "the present cannot be restored: segment {} is missing in the archive after the newest backup, {} \
             (walmgr backup)",
            segment.name(size),
            newest.id
        )));
    }
    check_age(newest, limit)
}

fn check_age(newest: &BackupInfo, limit: Option<Duration>) -> Result<()> {
    let age = Timestamp::now().duration_since(newest.stop_time);
    let shown = shown_age(age.unsigned_abs());
    let from = log::time(newest.stop_time);
    if let Some(limit) = limit.filter(|limit| age.unsigned_abs() > *limit) {
        let limit = shown_age(limit);
        return Err(Error::TooOld(match age.is_positive() {
            true => format!(
                "the newest backup, {}, is {shown} old (from {from}); the limit is {limit}",
                newest.id
            ),
            // A clock is wrong, and nobody knows how old it is.
            false => format!(
                "the newest backup, {}, is from {from}, {shown} in the future: its age is not known, the limit is {limit}",
                newest.id
            ),
        }));
    }
    log::print(format_args!("ok: newest backup {} from {from}, {shown} old", newest.id));
    Ok(())
}

/// A span of time in its two greatest units.
fn shown_age(age: Duration) -> String {
    let seconds = age.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

fn check_settings(client: &mut Client) -> Result<()> {
    let mut fix = Vec::new();
    let pending = sql::pending_restart(client)?;
    let mut off = |name: &str, is_off: bool, what: &'static str| {
        if is_off && !pending.iter().any(|pending| pending == name) {
            fix.push(what);
        }
    };
    let is_off = sql::setting(client, "archive_mode")? == "off";
    off("archive_mode", is_off, "archive_mode is off");
    off("wal_level", sql::setting(client, "wal_level")? == "minimal", "wal_level is minimal");
    let archiver = sql::archiver(client)?;
    // While archive_mode is off, the server does not say what the archiver would be.
    let is_other = !is_off && archiver != sql::Archiver::Walmgr;
    off("", is_other, "neither archive_command nor archive_library is walmgr's");
    if sql::setting(client, "full_page_writes")? == "off" {
        log::warning(
            "full_page_writes is off: backups of a standby are refused, others may be torn",
        );
    }
    if sql::setting(client, "fsync")? == "off" {
        log::warning("fsync is off: a crash of the server may lose what a backup would have saved");
    }
    if !fix.is_empty() {
        return Err(Error::Usage(format!("{} (walmgr setup)", fix.join("; "))));
    }
    if !pending.is_empty() {
        return Err(Error::Usage(format!(
            "a restart is pending for {}: restart the server",
            pending.join(", ")
        )));
    }
    log::print("ok: the server's settings");
    Ok(())
}

fn parse_age(text: &str) -> std::result::Result<Duration, String> {
    crate::value::parse_duration(text)
        .ok_or_else(|| format!("\"{text}\" is no duration such as 26h or 7d"))
}
