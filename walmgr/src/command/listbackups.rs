//! `listbackups`: the complete backups, oldest first.

use serde::Serialize;

use crate::backup::info::BackupInfo;
use crate::command::pin;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
use crate::log;
use crate::log::count;
use crate::repositories;

/// Arguments of `listbackups`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// List backups.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    if !args.json {
        return repositories::each(context, |one| print(&gather(one)?));
    }
    let (mut all, mut outcome) = (Vec::new(), Ok(()));
    for one in context.each() {
        let repository = (!context.is_alone()).then(|| one.repository().to_owned());
        let listed = |backup| Listed { repository: repository.clone(), backup };
        match gather(&one) {
            Ok(backups) => all.extend(backups.into_iter().map(listed)),
            Err(error) if context.is_alone() => return Err(error),
            Err(error) => outcome = outcome.and(Err(error.in_repository(one.repository()))),
        }
    }
    let text =
        serde_json::to_string_pretty(&all).map_err(|error| Error::Failed(error.to_string()))?;
    log::print(text);
    outcome
}

#[derive(Serialize)]
struct Listed {
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(flatten)]
    backup: BackupInfo,
}

/// The backups of all systems, in the order they were taken, which is not always that of their
/// names.
fn gather(context: &Context) -> Result<Vec<BackupInfo>> {
    let mut backups = Vec::new();
    for stanza in &context.systems()? {
        backups.extend(History::load_readable(stanza)?.backups);
    }
    Ok(backups)
}

fn print(backups: &[BackupInfo]) -> Result<()> {
    log::print(format_args!(
        "{:<16}  {:<20}  {:>9}  {:>9}  {:<24}  LABEL",
        "BACKUP", "COMPLETE AT", "SIZE", "ADDED", "FIRST WAL"
    ));
    let mut system = backups.first().map(|backup| &backup.system_identifier);
    for backup in backups {
        if system != Some(&backup.system_identifier) {
            system = Some(&backup.system_identifier);
            log::print(format_args!(
                "of system {}, PostgreSQL {}, since an upgrade:",
                backup.system_identifier, backup.pg_version
            ));
        }
        log::print(line(backup));
    }
    Ok(())
}

fn line(backup: &BackupInfo) -> String {
    let damaged = match backup.damaged_pages.len() {
        0 => String::new(),
        number => format!("  [{}]", count(number, "damaged page")),
    };
    let standalone = if backup.standalone { "  [restorable to its end only]" } else { "" };
    format!(
        "{:<16}  {:<20}  {:>9}  {:>9}  {:<24}  {}{damaged}{}{standalone}",
        backup.id,
        log::time(backup.stop_time),
        log::size(backup.size),
        log::size(backup.added),
        backup.start_wal,
        backup.label,
        backup.pin.as_ref().map_or_else(String::new, |pin| format!("  [{}]", pin::shown(pin)))
    )
}
