//! `verify`: read backups and WAL back and hold every byte against its hash.

use std::collections::HashSet;

use crate::backup::info::BackupInfo;
use crate::backup::manifest;
use crate::backup::read::Packs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::history::History;
use crate::log;
use crate::log::count;
use crate::repo::object::Hash;
use crate::repo::sealed::ring;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::wal::name::WalName;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these backups and the WAL they need; everything when none is named.
    backups: Vec<String>,
}

impl Args {
    /// True when only some backups are meant.
    pub(crate) fn names_backups(&self) -> bool {
        !self.backups.is_empty()
    }
}

/// Verify; everything that is wrong is reported before the command fails.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut findings = Findings::default();
    let mut known = Vec::new();
    let mut backups = 0;
    for stanza in context.systems()? {
        let _lock = context.reading(&stanza)?;
        let mut history = History::load_without_wal(&stanza)?;
        known.extend(history.backups.iter().map(|backup| backup.id.clone()));
        if args.backups.is_empty() {
            history.load_wal(&stanza, 0)?;
        }
        backups += verify_system(&stanza, &history, args, &mut findings)?;
    }
    if let Some(id) = args.backups.iter().find(|id| !known.contains(id)) {
        return Err(Error::NotFound(format!("backup \"{id}\" does not exist")));
    }
    if args.backups.is_empty() && context.config.repository.encryption.is_some() {
        verify_keys(context, &mut findings)?;
    }
    let unread = findings.unread.map(|(number, error)| (count(number, "object"), error));
    match (findings.count, unread) {
        (0, None) => {
            log::print(format_args!(
                "{} and {} as they should be",
                count(backups, "backup"),
                count(findings.files, "WAL file")
            ));
            Ok(())
        }
        (0, Some((number, error))) => {
            log::warning(format_args!("{number} could not be read, and nothing is known of them"));
            Err(error)
        }
        (damaged, unread) => {
            let unread = unread.map(|(number, _)| format!(", {number} could not be read"));
            let damaged = count(damaged, "problem");
            Err(Error::Corrupt(format!("{damaged} found{}", unread.unwrap_or_default())))
        }
    }
}

/// The number of backups that were verified.
fn verify_system(
    stanza: &Stanza,
    history: &History,
    args: &Args,
    findings: &mut Findings,
) -> Result<usize> {
    let is_wanted =
        |backup: &&BackupInfo| args.backups.is_empty() || args.backups.contains(&backup.id);
    let backups: Vec<&BackupInfo> = history.backups.iter().filter(is_wanted).collect();
    let mut seen = HashSet::new();
    for backup in backups.iter().copied() {
        findings.note(stanza, verify_backup(stanza, backup, &mut seen))?;
        findings.note(stanza, verify_range(stanza, backup))?;
    }
    if args.backups.is_empty() {
        verify_archive(stanza, history, findings)?;
        verify_present(history, findings);
    }
    Ok(backups.len())
}

/// The keys that others open it with, or that are kept for the day on which this one is lost.
fn verify_keys(context: &Context, findings: &mut Findings) -> Result<()> {
    let store = context.bare_store()?;
    if let Some(repository) = ring::repository(store.as_ref())? {
        for (id, why) in ring::keys(store.as_ref(), &repository)?.useless {
            findings.damage(&Error::Corrupt(format!("key {id}: {why}")));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Findings {
    /// What is not as it should be.
    count: usize,
    /// What could not be read, and why the first could not: that is no damage.
    unread: Option<(usize, Error)>,
    files: usize,
}

impl Findings {
    /// Note an outcome.
    ///
    /// # Errors
    /// What keeps all else from being read as well.
    fn note(&mut self, stanza: &Stanza, outcome: Result<()>) -> Result<()> {
        match outcome {
            Ok(()) => {}
            Err(error @ (Error::Corrupt(_) | Error::Mismatch(_) | Error::NotFound(_))) => {
                self.damage(&error);
            }
            Err(error @ Error::Repository { .. }) => {
                // Some other object may be out of reach alone, as on a bad sector.
                if stanza.store.open(&stanza.key("stanza.json")).is_err() {
                    return Err(error);
                }
                log::error(&error);
                self.unread = match self.unread.take() {
                    Some((number, first)) => Some((number + 1, first)),
                    None => Some((1, error)),
                };
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn damage(&mut self, error: &Error) {
        log::error(error);
        self.count += 1;
    }
}

/// Say which backup damage is of.
fn of_backup(backup: &BackupInfo, what: &str) -> impl Fn(Error) -> Error {
    let of = format!("backup {}{what}", backup.id);
    move |error| match error {
        Error::Corrupt(_) | Error::NotFound(_) => Error::Corrupt(format!("{of}: {error}")),
        error => error,
    }
}

fn verify_backup(
    stanza: &Stanza,
    backup: &BackupInfo,
    seen: &mut HashSet<(String, u64, Hash)>,
) -> Result<()> {
    let manifest = manifest::load(stanza, &backup.id, &backup.manifest_hash)?;
    let packs = Packs::new(stanza, &manifest);
    for file in &manifest.files {
        let mut crc = 0;
        let mut whole = true;
        for chunk in &file.chunks {
            let pack =
                usize::try_from(chunk.pack).ok().and_then(|number| manifest.packs.get(number));
            // Shared chunks are read once.
            if !seen.insert((pack.cloned().unwrap_or_default(), chunk.offset, chunk.hash)) {
                whole = false;
                continue;
            }
            let content =
                packs.read(chunk).map_err(of_backup(backup, &format!(": {}", file.path)))?;
            crc = crc32c::crc32c_append(crc, &content);
        }
        if whole && crc != file.crc {
            return Err(Error::Corrupt(format!(
                "backup {}: {} has another CRC",
                backup.id, file.path
            )));
        }
    }
    manifest.control.bytes().map(|_| ())
}

/// The WAL that a backup needs to be consistent.
fn verify_range(stanza: &Stanza, backup: &BackupInfo) -> Result<()> {
    let size = stanza.info.wal_segment_size;
    let mut segment = backup.start_segment(size);
    while segment <= backup.stop_segment(size) {
        let name = WalName::Segment(segment.name(size));
        wal::verify(stanza, &name, &wal::key(stanza, &name)).map_err(of_backup(backup, ""))?;
        segment = segment.next();
    }
    Ok(())
}

/// Whether the archive leads to its newest timeline, and which backups do not.
fn verify_present(history: &History, findings: &mut Findings) {
    let Some(newest) = history.newest_timeline().filter(|_| !history.backups.is_empty()) else {
        return;
    };
    if history.chain(newest).is_empty() {
        findings.damage(&Error::Corrupt(format!(
            "no backup leads to timeline {newest}, the newest in the archive"
        )));
    }
    for backup in history.abandoned() {
        log::print(format_args!(
            "backup {} (timeline {}) is not on the way to timeline {newest}, the newest",
            backup.id, backup.timeline
        ));
    }
}

fn verify_archive(stanza: &Stanza, history: &History, findings: &mut Findings) -> Result<()> {
    let size = stanza.info.wal_segment_size;
    for timeline in wal::timelines(stanza)? {
        for (first, last) in history.gaps(timeline) {
            findings.damage(&Error::Corrupt(format!(
                "WAL is missing: {} to {}",
                first.name(size),
                last.name(size)
            )));
        }
        for segment in wal::segments(stanza, timeline)? {
            let name = WalName::Segment(segment.name(size));
            findings.note(stanza, wal::verify(stanza, &name, &wal::key(stanza, &name)))?;
            findings.files += 1;
        }
    }
    for name in stanza.store.list(&stanza.key("wal"))? {
        if let Ok(name @ WalName::History(_)) = WalName::parse(&name) {
            findings.note(stanza, wal::verify(stanza, &name, &wal::key(stanza, &name)))?;
            findings.files += 1;
        }
    }
    for (name, key) in wal::beside_segments(stanza)? {
        findings.note(stanza, wal::verify(stanza, &name, &key))?;
        findings.files += 1;
    }
    Ok(())
}
