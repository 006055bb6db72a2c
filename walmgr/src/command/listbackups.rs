//! `listbackups`: the complete backups, oldest first.

use crate::backup::info::BackupInfo;
use crate::command::pin;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
use crate::log;
use crate::log::count;

/// Arguments of `listbackups`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// List backups.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let systems = context.systems()?;
    let mut backups = Vec::new();
    for stanza in &systems {
        // In the order they were taken, which is not always that of their names.
        backups.extend(History::load_without_wal(stanza)?.backups);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&backups)
            .map_err(|error| Error::Failed(error.to_string()))?;
        log::print(text);
        return Ok(());
    }
    log::print(format_args!(
        "{:<16}  {:<20}  {:>9}  {:>9}  {:<24}  LABEL",
        "BACKUP", "COMPLETE AT", "SIZE", "ADDED", "FIRST WAL"
    ));
    let mut system = backups.first().map(|backup| &backup.system_identifier);
    for backup in &backups {
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
