//! `restore`: bring a backup into a data directory and set it up for recovery.

use std::path::{Path, PathBuf};

use crate::backup::info::BackupInfo;
use crate::backup::manifest::{self, Control, Manifest};
use crate::backup::pg_manifest;
use crate::backup::read::Packs;
use crate::command::backup::jobs;
use crate::command::pin::stanza_with;
use crate::command::places::PlaceArgs;
use crate::context::{Context, Use};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::history::History;
use crate::log;
use crate::process::shell_quote;
use crate::repo::Lock;
use crate::repo::stanza::Stanza;
use crate::repositories::archive::Archive;
use crate::repositories::fetch;
use crate::repositories::spare::{self, Spare};
use crate::restore::databases::{self, LeftOut};
use crate::restore::files;
use crate::restore::locate;
use crate::restore::marker::Marker;
use crate::restore::place::{Existing, Place, Roots};
use crate::restore::select::{self, Choice};
use crate::restore::settings::{AUTO, Recovery};
use crate::restore::target::{self, Target, Wanted};

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup; else the newest that was complete before the target and is on the way to the
    /// timeline.
    backup: Option<String>,
    /// Restore this system, which the stanza had before a stanza-upgrade; also known by a backup.
    #[arg(long, value_name = "IDENTIFIER")]
    system: Option<u64>,
    /// Data directory to restore into; else cluster.data of the configuration.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep files that are the same, replace and remove others.
    #[arg(long, conflicts_with = "force")]
    delta: bool,
    /// Remove what is in the directory first.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    places: PlaceArgs,
    /// Put configuration files that lay outside the data directory here.
    #[arg(long, value_name = "DIR")]
    config_to: Option<PathBuf>,
    /// Restore this database only; may be given several times. The others are there, hold nothing,
    /// and are to be dropped. Implies --no-archive.
    #[arg(long, value_name = "NAME", conflicts_with = "standby")]
    database: Vec<String>,
    /// Number of threads; else backup.jobs of the configuration.
    #[arg(long, short, value_parser = jobs)]
    jobs: Option<usize>,
    #[command(flatten)]
    target: TargetArgs,
    /// Stop just before the target instead of just after it.
    #[arg(long)]
    exclusive: bool,
    /// Timeline to follow: latest, current or a number.
    #[arg(long, value_name = "TLI", default_value = "latest")]
    timeline: String,
    /// What to do at the target.
    #[arg(long, value_name = "ACTION", default_value = "promote", value_parser = ["promote", "pause", "shutdown"])]
    action: String,
    /// Replay also what only this spool of syncdaemon has, up to its last byte. The old primary
    /// must be gone for good.
    #[arg(long, value_name = "DIR")]
    partial_from: Option<PathBuf>,
    /// Let the restored server archive nothing: for restores that are only a test.
    #[arg(long)]
    no_archive: bool,
    /// Become a standby, of standby.primary_conninfo if that is set.
    #[arg(long)]
    standby: bool,
}

/// Where recovery shall end; at the end of all WAL when nothing is given.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct TargetArgs {
    /// Recover to a time.
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
    /// Recover to a WAL position.
    #[arg(long, value_name = "LSN")]
    to_lsn: Option<String>,
    /// Recover to a restore point.
    #[arg(long, value_name = "NAME")]
    to_name: Option<String>,
    /// Recover to a transaction.
    #[arg(long, value_name = "XID")]
    to_xid: Option<u64>,
    /// Stop as soon as the backup is consistent.
    #[arg(long)]
    immediate: bool,
}

impl Args {
    fn target(&self) -> Result<Target> {
        let target = &self.target;
        Ok(if let Some(time) = &target.to_time {
            Target::Time(target::parse_time(time)?)
        } else if let Some(lsn) = &target.to_lsn {
            Target::Lsn(lsn.parse()?)
        } else if let Some(name) = &target.to_name {
            Target::Name(name.clone())
        } else if let Some(xid) = target.to_xid {
            Target::Xid(xid)
        } else if target.immediate {
            Target::Immediate
        } else {
            Target::End
        })
    }
}

impl Args {
    /// What is looked for. Where the target is in the WAL is not known yet.
    fn wanted<'a>(&'a self, target: &'a Target) -> Result<Wanted<'a>> {
        Ok(Wanted {
            id: self.backup.as_deref(),
            target,
            position: None,
            line: target::parse_line(&self.timeline)?,
            standby: self.standby,
            now: jiff::Timestamp::now(),
        })
    }
}

/// Restore, from the first repository that has what leads to the target.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let target = args.target()?;
    let wanted = args.wanted(&target)?;
    let find = |one: &Context| {
        let stanza = one.limited(open(one, args)?, Use::Restore);
        Found::look(one, stanza, wanted.clone())
    };
    let (one, found) = fetch::choose(context, find)?;
    run_from(&one, args, &found)
}

/// What one repository has that leads to a target.
pub(crate) struct Found<'a> {
    /// What it has of the system.
    pub(crate) stanza: Stanza,
    /// Whoever expires waits.
    _lock: Option<Box<dyn Lock>>,
    /// As much of it as the choice needs.
    history: History,
    /// What is wanted, and where that is.
    wanted: Wanted<'a>,
}

impl<'a> Found<'a> {
    /// Look at a repository.
    ///
    /// # Errors
    /// Why nothing there leads to the target.
    pub(crate) fn look(context: &Context, stanza: Stanza, mut wanted: Wanted<'a>) -> Result<Self> {
        let lock = context.reading(&stanza)?;
        let mut archive = Archive::of(context, &stanza);
        let mut history = archive.history()?;
        wanted.position = locate::locate(&mut archive, &mut history, &wanted)?;
        choose(&mut archive, &mut history, &wanted)?;
        Ok(Self { stanza, _lock: lock, history, wanted })
    }

    /// What to restore, said with what the operator should know of it.
    ///
    /// # Errors
    /// None that looking did not meet.
    pub(crate) fn choice(&self) -> Result<Choice<'_>> {
        let choice = select::select(&self.history, &self.wanted)?;
        choice.notes.iter().for_each(log::warning);
        Ok(choice)
    }
}

/// Open what is to be restored from.
fn open(context: &Context, args: &Args) -> Result<Stanza> {
    match (args.system, &args.backup) {
        (Some(system), _) => context.stanza()?.of(system),
        (None, Some(backup)) => stanza_with(context, backup),
        (None, None) => context.stanza(),
    }
}

fn run_from(context: &Context, args: &Args, found: &Found<'_>) -> Result<()> {
    let choice = found.choice()?;
    let (stanza, target) = (&found.stanza, found.wanted.target);
    let info = choice.backup;
    let data = match &args.data {
        Some(data) => std::path::absolute(data).map_err(Error::local("find the data directory"))?,
        None => context.config.data()?.to_owned(),
    };
    let existing = match (args.delta, args.force) {
        (true, _) => Existing::Delta,
        (_, true) => Existing::Force,
        _ => Existing::Refuse,
    };
    let place = args.places.place(info, data, existing)?;
    place.check(info)?;
    let left_out = match args.database.as_slice() {
        [] => Vec::new(),
        wanted => databases::left_out(info, wanted)?,
    };
    let recovery = Recovery {
        target: choice.stop_before.map_or_else(|| target.clone(), Target::Lsn),
        exclusive: args.exclusive || choice.stop_before.is_some(),
        timeline: choice.follow.clone(),
        action: args.action.clone(),
        restore_command: restore_command(context, args.partial_from.as_deref())?,
        // An archive of it would look like one of the whole cluster.
        no_archive: args.no_archive || !args.database.is_empty(),
        no_prefetch: choice.has_hole && info.pg_version >= 15,
        ignore_invalid_pages: !left_out.is_empty() && !info.logs_hints,
        standby: args.standby.then(|| {
            (context.config.standby.primary_conninfo.clone(), context.config.standby.slot.clone())
        }),
    };
    if context.dry_run {
        place.look(&manifest::load(stanza, &info.id, &info.manifest_hash)?)?;
        log::print(format_args!(
            "would restore backup {} into {}, to recover along timeline {}",
            info.id,
            place.data.display(),
            choice.timeline
        ));
        for (oid, directory) in &place.tablespaces {
            log::print(format_args!("would restore tablespace {oid} into {}", directory.display()));
        }
        databases::say(&left_out, recovery.ignore_invalid_pages);
        return Ok(());
    }
    let spares = spare::all(context, info);
    let how = How {
        spares: &spares,
        config: args.config_to.as_deref(),
        jobs: args.jobs.unwrap_or(context.config.backup.jobs),
        left_out: &left_out,
    };
    restore(stanza, info, &place, &recovery, &how)?;
    log::notice(format_args!(
        "backup {} restored into {}; now start the server: it recovers along timeline {}",
        info.id,
        place.data.display(),
        choice.timeline
    ));
    databases::say(&left_out, recovery.ignore_invalid_pages);
    Ok(())
}

/// How a backup is brought.
#[derive(Default)]
pub(crate) struct How<'a> {
    /// Where configuration files from outside the data directory go.
    pub(crate) config: Option<&'a Path>,
    /// Number of threads.
    pub(crate) jobs: usize,
    /// Where the same backup is as well.
    pub(crate) spares: &'a [Spare],
    /// Databases whose files hold nothing.
    pub(crate) left_out: &'a [LeftOut],
}

/// See that there is something to restore. Of the WAL, no more is listed than the choice needs.
fn choose(archive: &mut Archive<'_>, history: &mut History, wanted: &Wanted<'_>) -> Result<()> {
    let size = history.segment_size;
    let start = |backup: &BackupInfo| backup.start_segment(size).number;
    let candidates = select::candidates(history, wanted.line);
    let is_likely = |backup: &BackupInfo| match wanted.id {
        Some(id) => backup.id == id,
        None => backup.damaged_pages.is_empty(),
    };
    let likely = select::before_target(wanted, &candidates);
    let from = likely.into_iter().rfind(|backup| is_likely(backup)).map_or(0, start);
    archive.load_wal(history, from)?;
    let found = select::select(history, wanted);
    if !found.is_ok_and(|choice| start(choice.backup) >= from) {
        archive.load_wal(history, 0)?;
    }
    match select::select(history, wanted)?.stop_before {
        Some(_) => archive.check_seen(),
        None => Ok(()),
    }
}

fn restore_command(context: &Context, spool: Option<&Path>) -> Result<String> {
    let Some(spool) = spool else { return context.command_line("archive-get %f %p") };
    let spool = spool.canonicalize().map_err(Error::local(format!("find {}", spool.display())))?;
    let spool = shell_quote(&spool.display().to_string());
    context.command_line(&format!("archive-get %f %p --partial {spool}"))
}

/// Bring a backup into a place that was checked.
pub(crate) fn restore(
    stanza: &Stanza,
    info: &BackupInfo,
    place: &Place,
    recovery: &Recovery,
    how: &How<'_>,
) -> Result<()> {
    let mut manifest = spare::manifest(stanza, how.spares, info)?;
    databases::empty(&mut manifest, how.left_out);
    let plan = place.look(&manifest)?;
    log::notice(format_args!("restoring backup {} ({} files)", info.id, info.files));
    for (oid, directory) in &place.tablespaces {
        log::notice(format_args!("tablespace {oid} goes to {}", directory.display()));
    }
    let roots = place.prepare(&manifest, &plan)?;
    step("restore.prepared")?;
    let spares = how.spares.iter().map(|spare| &spare.stanza);
    let packs = Packs::new(stanza, &manifest).with_spares(spares);
    files::restore(&packs, &manifest, place, &plan, &roots, how.config, how.jobs)?;
    step("restore.files")?;
    finish(info, &manifest, place, &roots, recovery)
}

/// Everything is there: write what makes it a cluster in recovery, make it durable, and only then
/// let it be started.
fn finish(
    info: &BackupInfo,
    manifest: &Manifest,
    place: &Place,
    roots: &Roots,
    recovery: &Recovery,
) -> Result<()> {
    let (data, _) = roots.find(Path::new(""));
    let failed = |what: &str| Error::local(format!("{what} in {}", place.data.display()));
    place.write(data, "backup_label", manifest.backup_label.as_bytes())?;
    place.write(data, "backup_manifest", pg_manifest::text(info, manifest)?.as_bytes())?;
    let (settings, signal, other) = recovery.files(&place.data)?;
    place.write(data, AUTO, &settings)?;
    data.remove(Path::new(other)).map_err(failed("remove a signal file"))?;
    place.write(data, signal, b"")?;
    for root in roots.all() {
        root.sync_all().map_err(Error::local(format!("sync {}", root.path.display())))?;
    }
    step("restore.synced")?;
    let temporary = "global/pg_control.walmgr";
    place.write(data, temporary, &manifest.control.bytes()?)?;
    data.rename(Path::new(temporary), Path::new(Control::PATH))
        .and_then(|()| data.sync(Path::new("global")))
        .map_err(failed("write pg_control"))?;
    data.remove(Path::new(Marker::NAME))
        .and_then(|()| data.sync(Path::new("")))
        .map_err(failed("end the restore"))
}

fn step(name: &str) -> Result<()> {
    failpoint::visit(name).map_err(Error::local("restore"))
}
