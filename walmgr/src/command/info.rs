//! `info`: what the repository holds, for people, programs (`--json`) and Prometheus (`--prometheus`, a textfile for its node exporter).

use jiff::Timestamp;
use serde::Serialize;

use crate::backup::info::{self, BackupInfo};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::repo::wal;

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Print metrics.
    #[arg(long)]
    prometheus: bool,
}

#[derive(Serialize)]
struct Info {
    stanza: String,
    system_identifier: String,
    pg_version: u32,
    wal_segment_size: u32,
    backups: Vec<BackupInfo>,
    timelines: Vec<Timeline>,
}

#[derive(Serialize)]
struct Timeline {
    timeline: u32,
    segments: usize,
    first: String,
    last: String,
    /// Segments missing between the first and the last.
    missing: u64,
}

/// Print what the repository holds.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let stanza = context.stanza()?;
    let info = gather(&stanza)?;
    if args.json {
        let text = serde_json::to_string_pretty(&info)
            .map_err(|error| Error::Failed(error.to_string()))?;
        log::print(text);
    } else if args.prometheus {
        print_metrics(&info);
    } else {
        print_text(&info);
    }
    Ok(())
}

fn gather(stanza: &Stanza) -> Result<Info> {
    let size = stanza.info.wal_segment_size;
    let mut timelines = Vec::new();
    for timeline in wal::timelines(stanza)? {
        let segments = wal::segments(stanza, timeline)?;
        let Some((first, last)) = segments.first().zip(segments.last()) else { continue };
        let span = last.number - first.number + 1;
        timelines.push(Timeline {
            timeline,
            segments: segments.len(),
            first: first.name(size),
            last: last.name(size),
            missing: span - u64::try_from(segments.len()).unwrap_or(span),
        });
    }
    Ok(Info {
        stanza: stanza.name.clone(),
        system_identifier: stanza.info.system_identifier.to_string(),
        pg_version: stanza.info.pg_version,
        wal_segment_size: size,
        backups: info::list(stanza)?,
        timelines,
    })
}

fn print_text(info: &Info) {
    log::print(format_args!(
        "stanza {}: system {}, PostgreSQL {}, segments of {} MiB",
        info.stanza,
        info.system_identifier,
        info.pg_version,
        info.wal_segment_size >> 20
    ));
    for timeline in &info.timelines {
        let missing = match timeline.missing {
            0 => String::new(),
            count => format!(", {count} MISSING"),
        };
        log::print(format_args!(
            "timeline {}: {} segments, {} to {}{missing}",
            timeline.timeline, timeline.segments, timeline.first, timeline.last
        ));
    }
    match (info.backups.first(), info.backups.last()) {
        (Some(first), Some(last)) => log::print(format_args!(
            "{} backups: can be restored to any time since {}; newest {} from {}",
            info.backups.len(),
            first.stop_time,
            last.id,
            last.stop_time
        )),
        _ => log::print("no backups"),
    }
}

fn print_metrics(info: &Info) {
    let stanza = &info.stanza;
    let missing: u64 = info.timelines.iter().map(|timeline| timeline.missing).sum();
    let segments: usize = info.timelines.iter().map(|timeline| timeline.segments).sum();
    let newest = info.backups.last();
    let metric = |name: &str, help: &str, value: i128| {
        log::print(format_args!("# HELP walmgr_{name} {help}"));
        log::print(format_args!("# TYPE walmgr_{name} gauge"));
        log::print(format_args!("walmgr_{name}{{stanza=\"{stanza}\"}} {value}"));
    };
    metric("backups", "Complete backups.", i128::try_from(info.backups.len()).unwrap_or(0));
    metric("wal_segments", "WAL segments in the archive.", i128::try_from(segments).unwrap_or(0));
    metric(
        "wal_segments_missing",
        "Segments missing between others of their timeline.",
        missing.into(),
    );
    if let Some(backup) = newest {
        metric(
            "last_backup_timestamp_seconds",
            "End of the newest backup.",
            backup.stop_time.as_second().into(),
        );
        metric("last_backup_size_bytes", "Size of the newest backup's files.", backup.size.into());
        let damaged = i128::try_from(backup.damaged_pages.len()).unwrap_or(0);
        metric(
            "last_backup_damaged_pages",
            "Pages with a wrong checksum in the newest backup.",
            damaged,
        );
    }
    metric(
        "info_timestamp_seconds",
        "When these metrics were made.",
        Timestamp::now().as_second().into(),
    );
}
