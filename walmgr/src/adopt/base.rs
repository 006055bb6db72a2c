//! A base backup of walmgr3 into a backup of the repository.
//!
//! Only what is known to restore is taken: the label is the server's own, a backup history file in
//! the archive says that the copy was finished and where it becomes consistent, and all WAL up to
//! there is in the repository.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::tz::TimeZone;

use crate::adopt::label::Label;
use crate::adopt::layout::Layout;
use crate::adopt::tablespaces;
use crate::backup::copy::{self, Copied, Known, Proof, Settings};
use crate::backup::info::{self, BackupInfo};
use crate::backup::manifest::{self, Control, Manifest};
use crate::backup::scan::{self, Found, Scan};
use crate::backup::unit::PageCheck;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::pg::{control, page, running};
use crate::repo::Lock;
use crate::repo::object;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::size::wide;
use crate::wal::name::{Segment, WalName};

/// What the operator adds to what the old files say.
#[derive(Debug)]
pub(crate) struct Hints {
    /// Zone in which the server wrote times.
    pub(crate) zone: TimeZone,
    /// Places of tablespaces by oid.
    pub(crate) tablespaces: BTreeMap<String, String>,
}

/// Adopt one directory.
///
/// # Errors
/// Why it is not a backup that restores.
pub(crate) fn adopt(
    context: &Context,
    stanza: &Stanza,
    locks: &mut [Box<dyn Lock>],
    directory: &Path,
    layout: &Layout,
    hints: &Hints,
) -> Result<()> {
    let label = read_label(directory)?;
    check_directory(stanza, directory)?;
    let mut info = describe(context, stanza, &label, layout, hints)?;
    let complete = info::list(stanza)?;
    if let Some(same) = complete.iter().find(|other| is_same(other, &info)) {
        log::notice(format_args!("{}: is there as backup {}", directory.display(), same.id));
        return Ok(());
    }
    let missing = first_missing(stanza, &info)?;
    // A dry run has not stored the WAL files that are still to come.
    if let Some(segment) = missing.filter(|_| !context.dry_run) {
        return Err(Error::NotFound(format!(
            "segment {} is not in the archive, and without it the copy never becomes consistent",
            segment.name(stanza.info.wal_segment_size)
        )));
    }
    let mut scan = scan::scan(directory)?;
    tablespaces::put_right(&mut scan, directory, &hints.tablespaces)?;
    complete_scan(&mut scan, layout)?;
    if context.dry_run {
        let size: u64 = scan.files.iter().map(|file| file.size).sum();
        log::print(format_args!(
            "would adopt {} as a backup of {}: {} files, {size} bytes",
            directory.display(),
            info.start_time,
            scan.files.len() + 1
        ));
        return Ok(());
    }
    info.id = info::new_id_at(stanza, info.start_time)?;
    let settings = Settings {
        id: info.id.clone(),
        codec: context.config.repository.codec(),
        jobs: context.config.backup.jobs,
        check: PageCheck { enabled: has_checksums(context, directory), start: info.start_lsn.0 },
    };
    let mut copied = copy::copy(stanza, &scan.files, known(stanza, &complete)?, &settings)?;
    copied.judge(info.stop_lsn.0);
    step("adopt.copied")?;
    commit(stanza, locks, info, label, directory, scan, copied)
}

/// The server's own label of an unused copy.
fn read_label(directory: &Path) -> Result<Label> {
    let path = directory.join("backup_label");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let used = directory.join("backup_label.old").exists();
            return Err(Error::Usage(
                if used {
                    "a server was started from it (backup_label.old), so it is no backup any more"
                } else {
                    "it has no backup_label, so it was never finished"
                }
                .to_owned(),
            ));
        }
        Err(error) => return Err(Error::local(format!("read {}", path.display()))(error)),
    };
    let label = Label::new(text, path.display().to_string());
    if label.value("BACKUP METHOD").is_err() {
        return Err(Error::Usage(
            "its backup_label was made up by walmgr3 on the slave, and does not say where it is consistent"
                .to_owned(),
        ));
    }
    Ok(label)
}

fn check_directory(stanza: &Stanza, directory: &Path) -> Result<()> {
    if let Some(pid) = running::postmaster(directory) {
        return Err(Error::Locked(format!("a server runs in it (process {pid})")));
    }
    match control::system_identifier(directory)? {
        Some(identifier) => stanza.check_system(identifier)?,
        None => return Err(Error::Usage("it has no global/pg_control".to_owned())),
    }
    let path = directory.join("PG_VERSION");
    let version =
        std::fs::read_to_string(&path).map_err(Error::local(format!("read {}", path.display())))?;
    if version.trim() == stanza.info.pg_version.to_string() {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "it is of PostgreSQL {}, the stanza is for {}",
        version.trim(),
        stanza.info.pg_version
    )))
}

/// All that the label and the backup history file say.
fn describe(
    context: &Context,
    stanza: &Stanza,
    label: &Label,
    layout: &Layout,
    hints: &Hints,
) -> Result<BackupInfo> {
    let size = stanza.info.wal_segment_size;
    let start = label.lsn("START WAL LOCATION")?;
    let timeline = label.number("START TIMELINE")?;
    let first = start.segment(timeline, size).name(size);
    let name = WalName::Backup(format!("{first}.{:08X}.backup", start.0 % u64::from(size)));
    let key = wal::key(stanza, &name);
    let text = match stanza.store.open(&key)? {
        Some(source) => {
            let mut text = Vec::new();
            object::read(source.as_ref(), &key, wal::TEXT, &mut text)?;
            Some(text)
        }
        // A dry run has not stored it.
        None if context.dry_run => std::fs::read(layout.complete.join(name.to_string())).ok(),
        None => None,
    };
    let text = text.ok_or_else(|| {
        Error::NotFound(format!("{name} is not in the archive, so the copy was never finished"))
    })?;
    let history = Label::new(String::from_utf8_lossy(&text).into_owned(), name.to_string());
    if history.number("STOP TIMELINE")? != timeline || history.lsn("START WAL LOCATION")? != start {
        return Err(Error::Mismatch(format!("{name} is of another backup")));
    }
    let mut info = BackupInfo {
        format: 1,
        id: String::new(),
        label: format!("walmgr3: {}", label.value("LABEL").unwrap_or_default()),
        manifest_hash: String::new(),
        system_identifier: stanza.info.system_identifier.to_string(),
        pg_version: stanza.info.pg_version,
        from_standby: label.value("BACKUP FROM").is_ok_and(|from| from == "standby"),
        timeline,
        start_lsn: start,
        stop_lsn: history.lsn("STOP WAL LOCATION")?,
        start_wal: first,
        stop_wal: String::new(),
        start_time: label.time("START TIME", &hints.zone)?,
        stop_time: history.time("STOP TIME", &hints.zone)?,
        files: 0,
        size: 0,
        added: 0,
        shares_with: Vec::new(),
        tablespaces: BTreeMap::new(),
        damaged_pages: Vec::new(),
        databases: BTreeMap::new(),
        logs_hints: false,
        pin: None,
        standalone: false,
    };
    info.stop_wal = info.stop_segment(size).name(size);
    Ok(info)
}

/// An adoption that is repeated finds what it did.
fn is_same(one: &BackupInfo, other: &BackupInfo) -> bool {
    (one.timeline, one.start_lsn, one.stop_lsn, one.start_time)
        == (other.timeline, other.start_lsn, other.stop_lsn, other.start_time)
}

fn first_missing(stanza: &Stanza, info: &BackupInfo) -> Result<Option<Segment>> {
    let size = stanza.info.wal_segment_size;
    let mut segment = info.start_segment(size);
    while segment <= info.stop_segment(size) {
        if !wal::has_segment(stanza, segment)? {
            return Ok(Some(segment));
        }
        segment = segment.next();
    }
    Ok(None)
}

/// Add what walmgr3 left out, and leave out what it made up.
fn complete_scan(scan: &mut Scan, layout: &Layout) -> Result<()> {
    scan.directories.retain(|(path, _)| path != "pg_xlog" && !path.starts_with("pg_xlog/"));
    scan.files.retain(|file| !file.path.starts_with("pg_xlog/"));
    for needed in ["pg_tblspc", "pg_wal", "pg_wal/archive_status"] {
        if !scan.directories.iter().any(|(path, _)| path == needed) {
            scan.directories.push((needed.to_owned(), 0o700));
        }
    }
    scan.directories.sort();
    let has = |scan: &Scan, name: &str| scan.files.iter().any(|file| file.path == name);
    for name in layout.config_files()? {
        let place = layout.config.join(&name);
        let meta = place.metadata().map_err(Error::local(format!("read {}", place.display())))?;
        if !has(scan, &name) {
            scan.files.push(Found {
                path: name,
                size: meta.len(),
                mode: meta.mode() & 0o7777,
                mtime: meta.mtime(),
                place,
            });
        }
    }
    if !has(scan, "postgresql.conf") {
        log::warning(
            "there is no postgresql.conf, neither in the copy nor in config.backup: \
             bring one when you restore",
        );
    }
    Ok(())
}

fn has_checksums(context: &Context, directory: &Path) -> bool {
    let mut command = std::process::Command::new(context.config.program("pg_controldata"));
    let output = command.arg(directory).env("LC_ALL", "C").output();
    let text = match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => {
            log::warning("pg_controldata cannot be run: page checksums are not verified");
            return false;
        }
    };
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim)
    };
    value("Data page checksum version").is_some_and(|version| version != "0")
        && value("Database block size").is_some_and(|size| size == page::SIZE.to_string())
}

/// Chunks of what was adopted or backed up before: the copies of walmgr3 have most of their files
/// in common.
fn known(stanza: &Stanza, complete: &[BackupInfo]) -> Result<Known> {
    let mut known = Known::default();
    known.add_broken_off(stanza, complete)?;
    for info in complete {
        match known.add_backup(stanza, info, Proof::Said) {
            Err(Error::Corrupt(why)) => log::warning(format_args!("{why}; it is not used")),
            added => added?,
        }
    }
    Ok(known)
}

fn commit(
    stanza: &Stanza,
    locks: &mut [Box<dyn Lock>],
    mut info: BackupInfo,
    label: Label,
    directory: &Path,
    scan: Scan,
    copied: Copied,
) -> Result<()> {
    let path = directory.join(Control::PATH);
    let what = || Error::local(format!("read {}", path.display()));
    let bytes = std::fs::read(&path).map_err(what())?;
    let meta = path.metadata().map_err(what())?;
    info.files = wide(copied.files.len() + 1);
    info.size = copied.files.iter().map(|file| file.size).sum::<u64>() + meta.len();
    info.added = copied.added;
    info.shares_with = copied.shares_with(&info.id);
    info.tablespaces = scan.tablespaces;
    info.damaged_pages = copied.damaged;
    let manifest = Manifest {
        mode: scan.mode,
        links: scan.links,
        directories: scan.directories,
        packs: copied.packs,
        backup_label: label.into_text(),
        control: Control::new(&bytes, meta.mode() & 0o7777, meta.mtime()),
        files: copied.files,
    };
    info.manifest_hash = manifest::store(stanza, &info.id, &manifest)?.to_string();
    step("adopt.manifest")?;
    locks.iter_mut().try_for_each(|lock| lock.check())?;
    info::commit(stanza, &info)?;
    log::notice(format_args!(
        "{} adopted as backup {}: {} files, {} bytes, {} added to the repository",
        directory.display(),
        info.id,
        info.files,
        info.size,
        info.added
    ));
    if info.damaged_pages.is_empty() {
        return Ok(());
    }
    Err(Error::Corrupt(format!(
        "adopted as backup {}, with {} damaged pages: {}",
        info.id,
        info.damaged_pages.len(),
        info.damaged_pages.iter().take(20).cloned().collect::<Vec<_>>().join(", ")
    )))
}

fn step(name: &str) -> Result<()> {
    failpoint::visit(name).map_err(Error::local("adopt"))
}
