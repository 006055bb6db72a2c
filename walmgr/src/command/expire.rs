//! `expire`: remove backups that the retention rules do not keep, and what only they needed.
//!
//! A backup ceases to exist first, then goes what it referred to, so that an interruption leaves
//! only what the next run removes. WAL is removed along the ancestry of timelines; history files
//! never are.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::backup::info::BackupInfo;
use crate::backup::pin;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::expire::locked;
use crate::expire::retention::{self, Kept, Rules};
use crate::expire::settings::Expire;
use crate::expire::tiers::Tiers;
use crate::expire::unneeded::{self, Needs};
use crate::failpoint;
use crate::history::History;
use crate::log;
use crate::log::count;
use crate::repo::LockMode;
use crate::repo::stanza::Stanza;

/// Arguments of `expire`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep this many newest backups; else expire.keep of the configuration.
    #[arg(long)]
    keep: Option<usize>,
}

/// Remove what is not kept.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    expire(context, args.keep.or(context.config.expire.keep))
}

/// The rules of the configuration; none when it has none.
pub(crate) fn rules(settings: &Expire) -> Option<Rules> {
    let count = |count: Option<usize>| count.unwrap_or(0);
    let tiers = Tiers {
        daily: count(settings.daily),
        weekly: count(settings.weekly),
        monthly: count(settings.monthly),
        yearly: count(settings.yearly),
        zone: settings.time_zone.clone().unwrap_or(TimeZone::UTC),
    };
    let rules = Rules { keep: settings.keep, window: settings.window, tiers };
    (rules.keep.is_some() || rules.window.is_some() || !rules.tiers.is_empty()).then_some(rules)
}

/// Remove what the rules do not keep.
///
/// # Errors
/// [`Error::Usage`] without a rule that says how far back any time can be restored to,
/// [`Error::Locked`] during a backup, restore or verification.
pub(crate) fn expire(context: &Context, keep: Option<usize>) -> Result<()> {
    let rules = Rules { keep, ..rules(&context.config.expire).unwrap_or_default() };
    if keep.is_none() && rules.window.is_none() {
        return Err(Error::Usage(match rules.tiers.is_empty() {
            true => "nothing says how long backups are kept: expire.keep, expire.window or --keep",
            false => {
                "tiers keep backups without the WAL after them: expire.keep or expire.window says \
                 how far back any time can be restored to"
            }
        }
        .to_owned()));
    }
    // Each system by itself: how many backups another has says nothing of it.
    context.systems()?.iter().try_for_each(|stanza| expire_system(context, stanza, &rules))
}

fn expire_system(context: &Context, stanza: &Stanza, rules: &Rules) -> Result<()> {
    let mut locks = Vec::new();
    if !context.dry_run {
        for key in ["locks/backup", "locks/expire"] {
            locks.push(stanza.store.lock(&stanza.key(key), LockMode::Exclusive)?);
        }
    }
    let history = History::load(stanza)?;
    let mut decisions = retention::kept(&history, rules, Timestamp::now());
    locked::keep(stanza, &history, &mut decisions)?;
    let decided = || history.backups.iter().zip(&decisions);
    let kept: Vec<&BackupInfo> =
        decided().filter(|(_, kept)| kept.is_some()).map(|(backup, _)| backup).collect();
    let gone: Vec<&BackupInfo> =
        decided().filter(|(_, kept)| kept.is_none()).map(|(backup, _)| backup).collect();
    for (backup, _) in decided().filter(|(_, kept)| **kept == Some(Kept::ForThePresent)) {
        log::notice(format_args!(
            "backup {} is kept as the newest on the way to timeline {}, the newest",
            backup.id,
            history.newest_timeline().unwrap_or(backup.timeline)
        ));
    }
    // Everything is known to be readable before the first thing is removed.
    let packs = unneeded::packs(stanza, &kept)?;
    let needs = Needs::new(&history, &decisions);
    let wal = unneeded::wal(stanza, &needs)?;
    if context.dry_run {
        plan(&kept, &gone, stanza, &packs, &wal);
        return Ok(());
    }
    // Lists may take long, and without the locks there are backups that were not seen.
    failpoint::visit("expire.decided").map_err(Error::local("expire"))?;
    locks.iter_mut().try_for_each(|lock| lock.check())?;
    for id in needs.standalone() {
        pin::mark_standalone(stanza, id)?;
        log::notice(format_args!(
            "backup {id} is kept for itself: times after it can be restored to no more"
        ));
    }
    for backup in &gone {
        stanza.store.remove(&stanza.key(&format!("backup/{}.json", backup.id)))?;
    }
    let packs = locked::remove(stanza, &packs)?;
    let wal = locked::remove(stanza, &wal)?;
    // Pushes are not locked out here, but none takes a day.
    stanza.store.sweep(&stanza.key("wal"), Duration::from_secs(86_400))?;
    if !gone.is_empty() || wal > 0 {
        log::notice(format_args!(
            "{}, {} of backups and {} removed",
            count(gone.len(), "backup"),
            count(packs, "object"),
            count(wal, "WAL file")
        ));
    }
    Ok(())
}

/// Say exactly what would go, and which times could not be restored to any more.
fn plan(
    kept: &[&BackupInfo],
    gone: &[&BackupInfo],
    stanza: &Stanza,
    packs: &[String],
    wal: &[String],
) {
    for backup in gone {
        log::print(format_args!(
            "would remove {}",
            stanza.key(&format!("backup/{}.json", backup.id))
        ));
    }
    for key in packs.iter().chain(wal) {
        log::print(format_args!("would remove {key}"));
    }
    let earliest = |backups: &[&BackupInfo]| backups.iter().map(|backup| backup.stop_time).min();
    match (earliest(gone), earliest(kept)) {
        (Some(before), Some(after)) if before < after => {
            log::print(format_args!(
                "times from {} to {} could not be restored to any more",
                log::time(before),
                log::time(after)
            ));
        }
        _ => log::print("no restorable time would be lost"),
    }
}
