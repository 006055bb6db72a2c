//! `info`: what the repository holds, for people, programs (`--json`) and Prometheus
//! (`--prometheus`).

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::backup::info::BackupInfo;
use crate::command::pin;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
use crate::history::reach::Range;
use crate::log;
use crate::log::count;
use crate::metrics;
use crate::repo::stanza::Stanza;
use crate::repositories;
use crate::size::narrow;
use crate::wal::lsn::Lsn;
use crate::wal::name::Segment;

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long, conflicts_with = "prometheus")]
    json: bool,
    /// Print metrics for Prometheus.
    #[arg(long)]
    prometheus: bool,
    /// Write the metrics to this file, at once and whole: for the textfile collector of node
    /// exporter.
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    output: Option<PathBuf>,
}

impl Args {
    /// Metrics have what the server says of its archiver.
    pub(crate) fn asks_the_server(&self) -> bool {
        self.prometheus
    }
}

#[derive(Serialize)]
struct Info {
    /// Where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    stanza: String,
    system_identifier: String,
    pg_version: u32,
    wal_segment_size: u32,
    backups: Vec<BackupInfo>,
    timelines: Vec<Timeline>,
    /// The timeline that a restore follows when it is not told otherwise.
    newest_timeline: Option<u32>,
    /// Backups that do not lead there.
    abandoned: Vec<String>,
    /// The same of the systems that the stanza had before an upgrade, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Info>,
}

#[derive(Serialize)]
struct Timeline {
    timeline: u32,
    /// What it branched off, and where; nothing for the first, and where the history file is not in
    /// the archive.
    parent: Option<u32>,
    branched_at: Option<Lsn>,
    segments: u64,
    first: String,
    last: String,
    /// Segments missing between the first and the last.
    missing: u64,
    /// What can be restored along it.
    restorable: Vec<Restorable>,
}

/// A span that can be restored to.
#[derive(Serialize)]
struct Restorable {
    first_backup: String,
    last_backup: String,
    from: Lsn,
    from_time: Timestamp,
    to: Lsn,
    /// The segment without which it goes no further, when there is WAL after it.
    missing: Option<String>,
}

/// Print what the repository holds.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    if args.prometheus {
        let text = metrics::text(context);
        match args.output.as_ref().filter(|_| !context.dry_run) {
            Some(path) => metrics::write(path, &text)?,
            None => log::print(text.trim_end()),
        }
        return Ok(());
    }
    if !args.json {
        return repositories::each(context, |one| {
            let info = of_all_systems(one)?;
            for earlier in &info.earlier {
                print_text(earlier);
                log::print("upgraded to");
            }
            print_text(&info);
            Ok(())
        });
    }
    let to_text = |value: serde_json::Result<String>| {
        value.map_err(|error| Error::Failed(error.to_string())).map(log::print)
    };
    if context.is_alone() {
        return to_text(serde_json::to_string_pretty(&of_all_systems(context)?));
    }
    // Those that answer; the first that does not is the error.
    let (mut all, mut outcome) = (Vec::new(), Ok(()));
    for one in context.each() {
        match of_all_systems(&one) {
            Ok(info) => all.push(Info { repository: Some(one.repository().to_owned()), ..info }),
            Err(error) => outcome = outcome.and(Err(error.in_repository(one.repository()))),
        }
    }
    to_text(serde_json::to_string_pretty(&all)).and(outcome)
}

fn of_all_systems(context: &Context) -> Result<Info> {
    let mut systems = context.systems()?.iter().map(gather).collect::<Result<Vec<Info>>>()?;
    let info = systems.pop();
    let info = info.ok_or_else(|| Error::NotFound("the stanza has no system".to_owned()))?;
    Ok(Info { earlier: systems, ..info })
}

fn gather(stanza: &Stanza) -> Result<Info> {
    let mut history = History::load_readable(stanza)?;
    history.load_wal(stanza, 0)?;
    let numbers = history.numbers();
    Ok(Info {
        repository: None,
        stanza: stanza.title.clone(),
        system_identifier: stanza.info.system_identifier.to_string(),
        pg_version: stanza.info.pg_version,
        wal_segment_size: stanza.info.wal_segment_size,
        timelines: numbers.into_iter().map(|timeline| of_timeline(&history, timeline)).collect(),
        newest_timeline: history.newest_timeline(),
        abandoned: history.abandoned().iter().map(|backup| backup.id.clone()).collect(),
        backups: history.backups,
        earlier: Vec::new(),
    })
}

fn of_timeline(history: &History, timeline: u32) -> Timeline {
    let size = history.segment_size;
    let runs = history.wal.of(timeline);
    let name = |number: Option<u64>| {
        number.map(|number| Segment { timeline, number }.name(size)).unwrap_or_default()
    };
    let gaps = history.gaps(timeline);
    let restorable = |range: Range<'_>| Restorable {
        first_backup: range.first.id.clone(),
        last_backup: range.last.id.clone(),
        from: range.first.stop_lsn,
        from_time: range.first.stop_time,
        to: range.reach.end,
        missing: range.reach.missing.map(|segment| segment.name(size)),
    };
    let parent = history.timelines.parent(timeline);
    Timeline {
        timeline,
        parent: parent.map(|parent| parent.timeline),
        branched_at: parent.map(|parent| parent.end),
        segments: runs.iter().map(|(first, last)| last - first + 1).sum(),
        first: name(runs.first().map(|(first, _)| *first)),
        last: name(runs.last().map(|(_, last)| *last)),
        missing: gaps.iter().map(|(first, last)| last.number - first.number + 1).sum(),
        restorable: history.ranges(timeline).into_iter().map(restorable).collect(),
    }
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
        let from = match (timeline.parent, timeline.branched_at) {
            (Some(parent), Some(position)) => format!(" (left timeline {parent} at {position})"),
            _ => String::new(),
        };
        let wal = match timeline.segments {
            0 => "no WAL".to_owned(),
            _ => format!(
                "{}, {} to {}",
                count(narrow(timeline.segments), "segment"),
                timeline.first,
                timeline.last
            ),
        };
        let missing = match timeline.missing {
            0 => String::new(),
            missing => format!(", {missing} MISSING"),
        };
        log::print(format_args!("timeline {}{from}: {wal}{missing}", timeline.timeline));
        for range in &timeline.restorable {
            let missing = range.missing.as_ref().map_or_else(String::new, |segment| {
                format!(", where {segment} is MISSING: what follows cannot be restored")
            });
            log::print(format_args!(
                "  can be restored from {} (backup {} at {}) to {}{missing}",
                log::time(range.from_time),
                range.first_backup,
                range.from,
                range.to
            ));
        }
        if timeline.restorable.is_empty() {
            log::print("  cannot be restored: no backup leads to it");
        }
    }
    for backup in &info.backups {
        if let Some(pin) = &backup.pin {
            log::print(format_args!("backup {} is {}", backup.id, pin::shown(pin)));
        }
    }
    if !info.abandoned.is_empty() {
        log::print(format_args!(
            "not on the way to timeline {}, the newest: {} (restore --timeline N)",
            info.newest_timeline.unwrap_or(0),
            info.abandoned
                .iter()
                .map(|id| {
                    let of = info.backups.iter().find(|backup| backup.id == *id);
                    format!("{id} (timeline {})", of.map_or(0, |backup| backup.timeline))
                })
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    match info.newest_backup() {
        Some(newest) => log::print(format_args!(
            "{}; newest {} from {}, {}",
            count(info.backups.len(), "backup"),
            newest.id,
            log::time(newest.stop_time),
            log::size(newest.size)
        )),
        None => log::print("no backups"),
    }
}

impl Info {
    /// The newest on the way to the newest timeline, else the newest at all.
    fn newest_backup(&self) -> Option<&BackupInfo> {
        let leads = |backup: &&BackupInfo| !self.abandoned.contains(&backup.id);
        self.backups.iter().rfind(leads).or_else(|| self.backups.last())
    }
}
