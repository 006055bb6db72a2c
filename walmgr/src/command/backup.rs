//! `backup`: take a base backup of the running server, primary or standby.
//!
//! Nothing refers to what is written until the last step creates `backup/ID.json`. A backup that
//! breaks off leaves packs that the next one makes use of; the server forgets it when the session
//! ends.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::backup::copy::{self, Copied, Known, Proof, Settings};
use crate::backup::info::{self, BackupInfo};
use crate::backup::manifest::{self, CONFIG, Control, Manifest};
use crate::backup::scan::{self, Found, Scan};
use crate::backup::unit::PageCheck;
use crate::command::expire;
use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::limit::be_polite;
use crate::log;
use crate::pg::backup::{Session, Stopped};
use crate::pg::{control, page, sql};
use crate::repo::LockMode;
use crate::repo::stanza::Stanza;
use crate::repo::wal;
use crate::repositories::copy as copying;
use crate::size::{narrow, wide};
use crate::wal::name::Segment;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Words to remember the backup by.
    #[arg(long, default_value = "")]
    label: String,
    /// Store only what differs from an earlier backup: the newest, or the named one.
    #[arg(long, value_name = "BACKUP", num_args = 0..=1, default_missing_value = "")]
    incremental: Option<String>,
    /// Into every repository: the server is read once, and what is stored in the first that takes
    /// it is copied to the others.
    #[arg(long)]
    all: bool,
    /// Number of threads; else backup.jobs of the configuration.
    #[arg(long, short, value_parser = jobs)]
    jobs: Option<usize>,
}

/// A number of threads.
pub(crate) fn jobs(text: &str) -> std::result::Result<usize, String> {
    text.parse()
        .ok()
        .filter(|jobs| (1..=256).contains(jobs))
        .ok_or_else(|| "1 to 256 threads".to_owned())
}

/// Take a backup.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    if !context.dry_run {
        be_polite(context.config.limits.nice, context.config.limits.idle_io);
    }
    if !args.all || context.is_alone() {
        if args.all && context.config.is_selected() {
            return Err(Error::Usage("--all and --repo exclude each other".to_owned()));
        }
        let taken = take(context, args)?;
        return taken.map_or(Ok(()), |taken| taken.end(context));
    }
    // One that is away keeps it from none of the others: it is copied there like to them, if that
    // works by then.
    let (from, taken) = take_first(context, args)?;
    let Some(taken) = taken else { return Ok(()) };
    let mut copies = Vec::new();
    for other in context.each() {
        if other.repository() != from.repository() {
            let copied = copy_to(&from, &other, &taken);
            copies.push(copied.map_err(|error| error.in_repository(other.repository())));
        }
    }
    // A failure of the others keeps this one's old backups from nothing. Damage of the cluster is
    // said first: no repository can mend it.
    let outcomes = [taken.end(&from)].into_iter().chain(copies);
    let mut failures = outcomes.filter_map(Result::err);
    let first = failures.next();
    failures.for_each(log::error);
    first.map_or(Ok(()), Err)
}

/// Take one into the first repository that answers. What else is wrong would be so with the next
/// one, too, or is to be looked at: a lock, damage, a key.
fn take_first(context: &Context, args: &Args) -> Result<(Context, Option<Complete>)> {
    let mut away = None;
    for one in context.each() {
        match take(&one, args) {
            Ok(taken) => return Ok((one, taken)),
            Err(error) => {
                let error = error.in_repository(one.repository());
                if !matches!(error, Error::Repository { .. }) {
                    return Err(error);
                }
                log::warning(&error);
                away = away.or(Some(error));
            }
        }
    }
    Err(away.unwrap_or_else(|| Error::Usage("no repository is configured".to_owned())))
}

/// Copy a backup to another repository, where only then an old one may go.
fn copy_to(from: &Context, to: &Context, taken: &Complete) -> Result<()> {
    copying::backup(from, to, &taken.id)?;
    if taken.damaged_pages.is_empty() { expire_old(to) } else { Ok(()) }
}

/// A backup that is complete.
struct Complete {
    id: String,
    damaged_pages: Vec<String>,
}

impl Complete {
    /// Let old backups go if this one is sound.
    fn end(self, context: &Context) -> Result<()> {
        if self.damaged_pages.is_empty() {
            return expire_old(context);
        }
        Err(Error::Corrupt(format!(
            "backup {} is complete, but the cluster has {} with a wrong checksum: {}",
            self.id,
            log::count(self.damaged_pages.len(), "page"),
            self.damaged_pages.iter().take(20).cloned().collect::<Vec<_>>().join(", ")
        )))
    }
}

/// Take one into a context's repository; `None` in a dry run.
fn take(context: &Context, args: &Args) -> Result<Option<Complete>> {
    let stanza = context.stanza()?;
    let data = context.config.data()?;
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    check_server(&stanza, data, &mut client)?;
    if context.dry_run {
        let scan = scan::scan(data)?;
        let size: u64 = scan.files.iter().map(|file| file.size).sum();
        log::print(format_args!("would copy {} files with {size} bytes", scan.files.len() + 1));
        return Ok(None);
    }
    let stanza = context.limited(stanza, Use::Backup);
    let mut lock = stanza.store.lock(&stanza.key("locks/backup"), LockMode::Exclusive)?;
    for directory in ["pack", "backup"] {
        for name in stanza.store.sweep(&stanza.key(directory), Duration::ZERO)? {
            log::debug(format_args!("removed {name}, left by an interrupted backup"));
        }
    }
    let known = known(&stanza, args)?;
    let check = PageCheck {
        enabled: sql::setting(&mut client, "data_checksums")? == "on"
            && sql::setting(&mut client, "block_size")? == page::SIZE.to_string(),
        start: 0,
    };
    let external = external_files(&mut client, data)?;
    let id = info::new_id(&stanza)?;
    let label = if args.label.is_empty() { &id } else { &args.label };
    let session = Session::start(client, label, context.config.backup.fast_checkpoint)?;
    log::notice(format_args!("backup {id} started at {}", session.start));

    let mut scan = scan::scan(data)?;
    scan.files.extend(external);
    let settings = Settings {
        id: id.clone(),
        codec: context.config.repository.codec(),
        jobs: args.jobs.unwrap_or(context.config.backup.jobs),
        check: PageCheck { start: session.start.0, ..check },
    };
    let mut copied = copy::copy(&stanza, &scan.files, known, &settings)?;
    let control = read_control(data)?;
    step("backup.copied")?;
    let start = Started {
        start: session.start,
        timeline: session.timeline,
        time: session.start_time,
        on_standby: session.on_standby,
    };
    let (stopped, client) = session.stop()?;
    copied.judge(stopped.stop.0);
    step("backup.stopped")?;
    let label = args.label.clone();
    let taken = Taken { id, label, start, stopped, scan, copied, control };
    let info = finish(context, &stanza, taken, client)?;
    step("backup.manifest")?;
    // Without it, an expire elsewhere takes what nothing refers to yet for left over.
    lock.check()?;
    info::commit(&stanza, &info)?;
    log::notice(format_args!(
        "backup {} complete: {}, {}, {} added to the repository",
        info.id,
        log::count(narrow(info.files), "file"),
        log::size(info.size),
        log::size(info.added)
    ));
    drop(lock);
    Ok(Some(Complete { id: info.id, damaged_pages: info.damaged_pages }))
}

/// Only now that there is a new, sound backup may an old one go.
fn expire_old(context: &Context) -> Result<()> {
    let Some(rules) = expire::rules(&context.config.expire) else { return Ok(()) };
    match expire::expire(context, rules.keep) {
        // Somebody restores from an old one just now; the next backup will see to it.
        Err(Error::Locked(why)) => {
            log::warning(format_args!("old backups are not removed now: {why}"));
            Ok(())
        }
        outcome => outcome,
    }
}

struct Started {
    start: crate::wal::lsn::Lsn,
    timeline: u32,
    time: std::time::SystemTime,
    on_standby: bool,
}

/// The parts of a backup, before they come together.
struct Taken {
    id: String,
    label: String,
    start: Started,
    stopped: Stopped,
    scan: Scan,
    copied: Copied,
    control: Control,
}

fn finish(
    context: &Context,
    stanza: &Stanza,
    taken: Taken,
    mut client: Client,
) -> Result<BackupInfo> {
    let Taken { id, label, start, stopped, scan, copied, control } = taken;
    let mut info = BackupInfo {
        format: 1,
        id: id.clone(),
        label,
        manifest_hash: String::new(),
        system_identifier: stanza.info.system_identifier.to_string(),
        pg_version: stanza.info.pg_version,
        from_standby: start.on_standby,
        timeline: start.timeline,
        start_lsn: start.start,
        stop_lsn: stopped.stop,
        start_wal: String::new(),
        stop_wal: String::new(),
        start_time: info::timestamp(start.time)?,
        stop_time: info::timestamp(stopped.stop_time)?,
        files: wide(copied.files.len() + 1),
        size: copied.files.iter().map(|file| file.size).sum::<u64>() + control::SIZE,
        added: copied.added,
        shares_with: copied.shares_with(&id),
        tablespaces: scan.tablespaces,
        damaged_pages: copied.damaged,
        databases: sql::databases(&mut client)?,
        logs_hints: logs_hints(&mut client)?,
        pin: None,
        standalone: false,
    };
    let size = stanza.info.wal_segment_size;
    let (first, last) = (info.start_segment(size), info.stop_segment(size));
    info.start_wal = first.name(size);
    info.stop_wal = last.name(size);
    wait_for_wal(context, stanza, first, last, &info, client)?;
    let manifest = Manifest {
        mode: scan.mode,
        links: scan.links,
        directories: scan.directories,
        packs: copied.packs,
        backup_label: stopped.label,
        control,
        files: copied.files,
    };
    info.manifest_hash = manifest::store(stanza, &id, &manifest)?.to_string();
    Ok(info)
}

/// With page checksums, or when told to, the server writes a page whole before it changes as much
/// as a hint bit of it.
fn logs_hints(client: &mut Client) -> Result<bool> {
    Ok(sql::setting(client, "data_checksums")? == "on"
        || sql::setting(client, "wal_log_hints")? == "on")
}

/// The server, the data directory and the stanza must be of one cluster, and the server must
/// archive.
fn check_server(stanza: &Stanza, data: &Path, client: &mut Client) -> Result<()> {
    stanza.check_system(sql::stanza_info(client)?.system_identifier)?;
    match control::system_identifier(data)? {
        Some(identifier) => stanza.check_system(identifier)?,
        None => return Err(Error::Usage(format!("{} is not a data directory", data.display()))),
    }
    let on_standby: bool = client.query_one("select pg_catalog.pg_is_in_recovery()", &[])?.get(0);
    if sql::setting(client, "archive_mode")? == "off" && !on_standby {
        let is_set = sql::pending_restart(client)?.iter().any(|name| name == "archive_mode");
        let next = if is_set { "a restart is pending: restart the server" } else { "walmgr setup" };
        return Err(Error::Usage(format!(
            "archive_mode is off: a backup without its WAL cannot be restored ({next})"
        )));
    }
    Ok(())
}

fn known(stanza: &Stanza, args: &Args) -> Result<Known> {
    let complete = info::list(stanza)?;
    let mut known = Known::default();
    known.add_broken_off(stanza, &complete)?;
    if let Some(base) = &args.incremental {
        let base = match complete.iter().rfind(|info| base.is_empty() || info.id == *base) {
            Some(base) => base,
            None if base.is_empty() => {
                log::notice("there is no backup to build on: everything is stored");
                return Ok(known);
            }
            None => return Err(Error::NotFound(format!("backup \"{base}\" does not exist"))),
        };
        known.add_backup(stanza, base, Proof::Promised).map_err(|error| match error {
            Error::Corrupt(why) => Error::Corrupt(format!(
                "backup {} is damaged, so none can build on it (take one that does not): {why}",
                base.id
            )),
            error => error,
        })?;
        log::notice(format_args!("only what differs from backup {} is stored", base.id));
    }
    Ok(known)
}

/// Configuration files that live outside the data directory, as Debian has them.
fn external_files(client: &mut Client, data: &Path) -> Result<Vec<Found>> {
    let data = data.canonicalize().map_err(Error::local(format!("find {}", data.display())))?;
    let mut found = Vec::new();
    for name in ["config_file", "hba_file", "ident_file"] {
        let place = sql::setting(client, name)?;
        let looked = Path::new(&place).canonicalize().and_then(|real| Ok((real.metadata()?, real)));
        let (meta, real) = match looked {
            Ok((_, real)) if real.starts_with(&data) => continue,
            Ok(found) => found,
            // The server does without it, too.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::local(format!("save {name} {place}"))(error)),
        };
        let leaf = real.file_name().and_then(|leaf| leaf.to_str()).ok_or_else(|| {
            Error::Failed(format!("{name}: the name of {} is not UTF-8", real.display()))
        })?;
        found.push(Found {
            path: format!("{CONFIG}{leaf}"),
            size: meta.len(),
            mode: meta.mode() & 0o7777,
            mtime: meta.mtime(),
            place: real,
        });
    }
    Ok(found)
}

/// Read the control file until two reads agree: the server may be writing it.
fn read_control(data: &Path) -> Result<Control> {
    let path = data.join(Control::PATH);
    let what = || Error::local(format!("read {}", path.display()));
    let mut before = Vec::new();
    loop {
        let now = std::fs::read(&path).map_err(what())?;
        if now == before {
            let meta = path.metadata().map_err(what())?;
            return Ok(Control::new(&now, meta.mode() & 0o7777, meta.mtime()));
        }
        before = now;
    }
}

/// Prove that every segment the backup needs is in the repository.
fn wait_for_wal(
    context: &Context,
    stanza: &Stanza,
    first: Segment,
    last: Segment,
    info: &BackupInfo,
    client: Client,
) -> Result<()> {
    drop(client);
    if info.from_standby {
        switch_on_primary(context);
    }
    let end = Instant::now() + context.config.backup.archive_timeout;
    let mut segment = first;
    while segment <= last {
        if wal::has_segment(stanza, segment)? {
            segment = segment.next();
        } else if Instant::now() > end {
            let hint =
                if info.from_standby { " (pg_switch_wal() on the primary would help)" } else { "" };
            return Err(Error::NotArrived(format!(
                "segment {} was not archived within {} s, so the backup cannot be completed{hint}",
                segment.name(stanza.info.wal_segment_size),
                context.config.backup.archive_timeout.as_secs()
            )));
        } else {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A standby cannot finish a segment; its primary can, if it lets us.
fn switch_on_primary(context: &Context) {
    let Some(conninfo) = &context.config.standby.primary_conninfo else { return };
    let switched = sql::connect(context.transport, conninfo).and_then(|mut client| {
        client.query_one("select pg_catalog.pg_switch_wal()::text", &[])?;
        Ok(())
    });
    if let Err(error) = switched {
        log::warning(format_args!("cannot switch WAL on the primary: {error}"));
    }
}

fn step(name: &str) -> Result<()> {
    failpoint::visit(name).map_err(Error::local("backup"))
}
