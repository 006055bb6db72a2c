//! `createslave`: make this host a standby, from the newest backup in the repository or straight
//! from the primary.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pgq_connect::{ForProgram, quote};

use crate::command::places::PlaceArgs;
use crate::command::restore::{self, Found, How};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::{running, sql, standby};
use crate::process;
use crate::repo::stanza::Stanza;
use crate::repositories::{fetch, spare};
use crate::restore::place::{Existing, write_synced};
use crate::restore::settings::{AUTO, Recovery};
use crate::restore::target::{Line, Target, Wanted};

/// Arguments of `createslave`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Copy from the primary with pg_basebackup instead of restoring a backup.
    #[arg(long, conflicts_with_all = [
        "delta", "force", "tablespace_map", "tablespace_map_all", "link_map", "original_places",
    ])]
    from_primary: bool,
    /// Keep files that are the same, replace and remove others.
    #[arg(long, conflicts_with = "force")]
    delta: bool,
    /// Remove what is in the directory first.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    places: PlaceArgs,
    /// Do not start the server.
    #[arg(long)]
    no_start: bool,
    /// Port of the new standby, for its postgresql.auto.conf; else what the primary has.
    #[arg(long)]
    port: Option<u16>,
    /// Another setting of the new standby, for its postgresql.auto.conf.
    #[arg(long = "setting", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Seconds to wait for the standby to follow.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
}

/// Make a standby, from the first repository that has a backup which leads to the primary.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    if args.from_primary {
        return run_from(context, args, None);
    }
    let find = |one: &Context| {
        let stanza = one.stanza()?;
        let wanted = wanted(one, &stanza)?;
        Found::look(one, stanza, wanted)
    };
    let (one, found) = fetch::choose(context, find)?;
    run_from(&one, args, Some(&found))
}

/// The newest backup on the way to what the standby shall follow, a copy of the primary that
/// archived a later timeline notwithstanding.
fn wanted(context: &Context, stanza: &Stanza) -> Result<Wanted<'static>> {
    Ok(Wanted {
        id: None,
        target: &Target::End,
        position: None,
        line: primarys_timeline(context, stanza)?,
        standby: true,
        now: jiff::Timestamp::now(),
    })
}

fn run_from(context: &Context, args: &Args, found: Option<&Found<'_>>) -> Result<()> {
    let data = context.config.data()?.to_owned();
    let settings = &context.config.standby;
    let mut recovery = Recovery {
        target: Target::End,
        exclusive: false,
        timeline: "latest".to_owned(),
        action: "promote".to_owned(),
        restore_command: context.command_line("archive-get %f %p")?,
        no_archive: false,
        no_prefetch: false,
        ignore_invalid_pages: false,
        standby: Some((settings.primary_conninfo.clone(), settings.slot.clone())),
    };
    let own = own_settings(args)?;
    let source = if args.from_primary { "the primary" } else { "the repository" };
    if !context.dry_run {
        create_slot(context)?;
    }
    if args.from_primary {
        let primary = settings
            .primary_conninfo
            .as_deref()
            .ok_or_else(|| Error::Usage("standby.primary_conninfo is not set".to_owned()))?;
        if let Some(pid) = running::postmaster(&data) {
            return Err(Error::Locked(format!("a server runs in {} (pid {pid})", data.display())));
        }
        if !context.dry_run {
            let mut copy = Command::new(context.config.program("pg_basebackup"));
            copy.arg("--pgdata").arg(&data);
            ForProgram::new(primary, None)?.give(&mut copy);
            copy.args(["--checkpoint=fast", "--wal-method=stream", "--no-password"]);
            // It refuses a directory that is not empty, and syncs what it writes.
            process::run(&mut copy, "pg_basebackup")?;
            recovery.write(&data)?;
        }
    }
    if let Some(found) = found {
        let choice = found.choice()?;
        let info = choice.backup;
        recovery.timeline = choice.follow.clone();
        let existing = match (args.delta, args.force) {
            (true, _) => Existing::Delta,
            (_, true) => Existing::Force,
            _ => Existing::Refuse,
        };
        let place = args.places.place(info, data, existing)?;
        place.check(info)?;
        if !context.dry_run {
            let spares = spare::all(context, info);
            let how = How { jobs: context.config.backup.jobs, spares: &spares, ..How::default() };
            restore::restore(&found.stanza, info, &place, &recovery, &how)?;
        }
    }
    if context.dry_run {
        log::print(format_args!("would create a standby from {source}"));
        return Ok(());
    }
    add_settings(context.config.data()?, &own)?;
    log::notice(format_args!("the standby is created from {source}"));
    if args.no_start {
        log::notice("now start it");
        return Ok(());
    }
    start(context)?;
    follow(context, Duration::from_secs(args.timeout))
}

/// Make the configured slot on the primary, so that it keeps the WAL this standby has not got yet.
fn create_slot(context: &Context) -> Result<()> {
    let settings = &context.config.standby;
    let (Some(conninfo), Some(slot)) = (&settings.primary_conninfo, &settings.slot) else {
        return Ok(());
    };
    let mut client = sql::connect(context.transport, conninfo)?;
    client.execute(
        "select pg_catalog.pg_create_physical_replication_slot($1, true)
          where not exists (select from pg_catalog.pg_replication_slots s where s.slot_name = $1)",
        &[slot],
    )?;
    Ok(())
}

/// The timeline to be on: that of the primary, if there is one to ask.
fn primarys_timeline(context: &Context, stanza: &Stanza) -> Result<Line> {
    let Some(conninfo) = &context.config.standby.primary_conninfo else { return Ok(Line::Latest) };
    let asked = sql::connect(context.transport, conninfo).and_then(|mut client| {
        stanza.check_system(sql::stanza_info(&mut client)?.system_identifier)?;
        standby::timeline(&mut client)
    });
    match asked {
        Ok(timeline) => Ok(Line::Primary(timeline)),
        Err(error @ Error::Mismatch(_)) => Err(error),
        Err(error) => {
            log::warning(format_args!("the primary does not say its timeline: {error}"));
            Ok(Line::Latest)
        }
    }
}

fn start(context: &Context) -> Result<()> {
    if let Some(command) = &context.config.commands.start {
        return process::shell(command);
    }
    let data = context.config.data()?;
    let mut start = Command::new(context.config.program("pg_ctl"));
    let output = data.join("walmgr-start.log");
    start.arg("--pgdata").arg(data).arg("--log").arg(&output);
    start.args(["--wait", "start"]);
    process::run(&mut start, "pg_ctl start").map_err(|error| match error {
        Error::Failed(why) => {
            Error::Failed(format!("{why}; what the server said is in {}", output.display()))
        }
        other => other,
    })
}

/// What the operator sets for the new standby alone.
fn own_settings(args: &Args) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for text in &args.settings {
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        };
        match text.split_once('=') {
            Some((name, value)) if is_name(name.trim()) && !value.contains(['\n', '\r']) => {
                settings.push((name.trim().to_owned(), value.to_owned()));
            }
            _ => return Err(Error::Usage(format!("\"{text}\" is not of the form NAME=VALUE"))),
        }
    }
    settings.extend(args.port.map(|port| ("port".to_owned(), port.to_string())));
    Ok(settings)
}

/// A later line of the file counts.
fn add_settings(data: &Path, settings: &[(String, String)]) -> Result<()> {
    if settings.is_empty() {
        return Ok(());
    }
    let path = data.join(AUTO);
    let what = || Error::local(format!("write {}", path.display()));
    let mut bytes = std::fs::read(&path).map_err(what())?;
    for (name, value) in settings {
        bytes.extend(format!("{name} = {}\n", quote::setting(value)).bytes());
    }
    write_synced(&path, &bytes)
}

/// Wait until the standby is consistent, and receives from its primary if it has one.
fn follow(context: &Context, patience: Duration) -> Result<()> {
    let streams = context.config.standby.primary_conninfo.is_some();
    let conninfo = context.config.connect()?;
    let mut last = String::new();
    let follows = standby::poll(patience, || {
        let asked = sql::connect(context.transport, conninfo).and_then(|mut client| {
            let row = client.query_one(
                "select pg_catalog.pg_is_in_recovery(),
                        exists (select from pg_catalog.pg_stat_wal_receiver r where r.status = \
                        'streaming')",
                &[],
            )?;
            Ok((row.get::<_, bool>(0), row.get::<_, bool>(1)))
        });
        match asked {
            Ok((false, _)) => Err(Error::Failed("the server came up as a primary".to_owned())),
            Ok((true, receives)) => Ok(receives || !streams),
            Err(error) => {
                last = error.to_string();
                Ok(false)
            }
        }
    })?;
    if follows {
        log::notice("the standby follows");
        return Ok(());
    }
    Err(Error::Failed(format!(
        "the standby does not follow after {} s: {last}",
        patience.as_secs()
    )))
}
