//! `listbackups`: the complete backups, oldest first.

use crate::backup::info::{self, BackupInfo};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;

/// Arguments of `listbackups`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// List backups.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let stanza = context.stanza()?;
    let backups = info::list(&stanza)?;
    if args.json {
        let text = serde_json::to_string_pretty(&backups)
            .map_err(|error| Error::Failed(error.to_string()))?;
        log::print(text);
        return Ok(());
    }
    log::print(format_args!(
        "{:<16}  {:<20}  {:>13}  {:>13}  {:<24}  LABEL",
        "BACKUP", "COMPLETE AT", "SIZE", "ADDED", "FIRST WAL"
    ));
    for backup in &backups {
        log::print(line(backup));
    }
    Ok(())
}

fn line(backup: &BackupInfo) -> String {
    let damaged = match backup.damaged_pages.len() {
        0 => String::new(),
        count => format!("  [{count} damaged pages]"),
    };
    format!(
        "{:<16}  {:<20}  {:>13}  {:>13}  {:<24}  {}{damaged}",
        backup.id,
        backup.stop_time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        backup.size,
        backup.added,
        backup.start_wal,
        backup.label
    )
}
