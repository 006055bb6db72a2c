//! `archive-get %f %p`: the server's `restore_command`.
//!
//! A server in recovery takes exit codes 1 to 125 for "the archive ends here", opens for writing,
//! and whatever was archived after that is lost. So 1 is said only when the repository, known to be
//! there and whole, has no such file and nothing after it. Any other trouble is retried, and then
//! [`ABORT`] stops the server. A standby asks again by itself and must not be stopped. Nor must a
//! server that is being promoted: its signal file is gone, and started again it would go on writing
//! its old timeline. The table of who is answered what is in `docs/walmgr.md`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use walmgr_protocol::{Reply, Verb};

use crate::context::Context;
use crate::daemon::client::{self, Asked};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::log;
use crate::pg::signal::{self, Recovery};
use crate::repo::wal::Fetched;
use crate::repositories::fetch;
use crate::sync::spool;
use crate::wal::file::WalFile;
use crate::wal::history;
use crate::wal::name::WalName;

/// Exit code that makes a recovering server stop instead of taking the archive for ended.
pub(crate) const ABORT: u8 = 200;

const ABSENT: u8 = 1;

/// Arguments of `archive-get`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the WAL file (%f).
    name: String,
    /// Where to put it (%p).
    path: PathBuf,
    /// Segment of the last restart point (%r); accepted for walmgr3's sake.
    #[arg(hide = true)]
    restart_point: Option<String>,
    /// Take what the repository does not have from this spool of syncdaemon, also the unfinished
    /// segment.
    #[arg(long, value_name = "DIR")]
    partial: Option<PathBuf>,
    /// Take a missing segment for the end of WAL even when later ones are there.
    #[arg(long)]
    allow_hole: bool,
}

/// Fetch one WAL file; the exit code.
pub(crate) fn run(context: Result<Context>, args: &Args) -> u8 {
    let file = WalName::parse(&args.name).map(|name| WalFile { name, path: args.path.clone() });
    if matches!(&file, Ok(WalFile { name: WalName::History(0 | 1), .. })) {
        // The first timeline comes from none. Every server asks for it when it is promoted; the
        // repository has no say in that.
        return ABSENT;
    }
    let here = PathBuf::from(".");
    let data = match &context {
        Ok(context) => context.data_of_server().unwrap_or(here),
        Err(_) => here,
    };
    let recovery = signal::recovery(&data);
    if context.as_ref().is_ok_and(|context| context.dry_run) {
        log::print(format_args!("would fetch {} to {}", args.name, args.path.display()));
        return match recovery {
            Recovery::Unknown => 0,
            // A server has been told to ask like this, and there is no answer.
            _ => give_up(recovery, &Error::Usage("a dry run fetches nothing".to_owned())),
        };
    }
    if recovery == Recovery::Over
        && file.as_ref().is_ok_and(|file| deliver_own_history(&data, file))
    {
        return 0;
    }
    // The exit code of a panic would be one for "absent".
    let asked = AssertUnwindSafe(|| patiently(&context?, &file?, args, recovery));
    let outcome = catch_unwind(asked)
        .unwrap_or_else(|_| Err(Error::Failed("walmgr has failed by a fault of its own".into())));
    match outcome {
        Ok(Fetched::Delivered) => 0,
        Ok(Fetched::Absent) => {
            log::debug(format_args!("{} is not in the archive", args.name));
            ABSENT
        }
        Ok(Fetched::Hole) => give_up(
            recovery,
            &Error::Corrupt(format!(
                "{} is missing in the archive although later segments are there; \
                 --allow-hole ends recovery here and loses them",
                args.name
            )),
        ),
        Err(error) => give_up(recovery, &error),
    }
}

fn give_up(recovery: Recovery, error: &Error) -> u8 {
    log::error(error);
    match recovery {
        Recovery::Standby => ABSENT,
        Recovery::Over => error.exit_code(),
        Recovery::Targeted | Recovery::Unknown => ABORT,
    }
}

/// A server keeps the history files it has read. Once its recovery is over, its own copy answers at
/// once.
fn deliver_own_history(data: &Path, file: &WalFile) -> bool {
    let WalName::History(timeline) = file.name else { return false };
    let own = data.join("pg_wal").join(file.name.to_string());
    let Ok(text) = std::fs::read_to_string(own) else { return false };
    history::parse(timeline, &text).is_ok() && std::fs::write(&file.path, text).is_ok()
}

/// Try until there is an answer with authority, or the time is up.
fn patiently(
    context: &Context,
    file: &WalFile,
    args: &Args,
    recovery: Recovery,
) -> Result<Fetched> {
    let archive = &context.config.archive;
    let patience = match (recovery, &file.name) {
        // Whatever was archived under a number that looks free would be in the way of the timeline
        // that a promotion gives that number.
        (Recovery::Standby, WalName::History(_)) => archive.standby_get_timeout,
        // It asks again, and looks elsewhere meanwhile.
        (Recovery::Standby, _) => Duration::ZERO,
        // Without it, nobody would know any more what the new timeline comes from. The server has a
        // copy unless somebody removed it.
        (Recovery::Over, WalName::History(_)) => archive.get_timeout,
        // A server whose recovery is over asks for nothing else.
        (Recovery::Over, _) => Duration::ZERO,
        (Recovery::Targeted | Recovery::Unknown, _) => archive.get_timeout,
    };
    let end = Instant::now() + patience;
    let mut pause = Duration::from_millis(50);
    loop {
        let outcome = attempt(context, file, args);
        let retry = match &outcome {
            Ok(Fetched::Delivered | Fetched::Absent) => false,
            // A live primary's archiver may be about to close it.
            Ok(Fetched::Hole) => true,
            // These do not get better by waiting.
            Err(Error::Usage(_) | Error::Mismatch(_)) => false,
            Err(_) => true,
        };
        if !retry || Instant::now() + pause >= end {
            return outcome;
        }
        if let Err(error) = &outcome {
            log::warning(format_args!("{}: {error}; will retry", file.name));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

fn attempt(context: &Context, file: &WalFile, args: &Args) -> Result<Fetched> {
    failpoint::visit("get.attempt").map_err(Error::local("fetch"))?;
    match client::ask(context, Verb::Get, file) {
        Asked::Answer(Reply::Ready(place)) => match client::take(context, &place, file) {
            Ok(()) => return Ok(Fetched::Delivered),
            Err(error) => log::warning(error),
        },
        Asked::Answer(Reply::Absent) if args.partial.is_none() => return Ok(Fetched::Absent),
        // Whatever else it is: look for oneself.
        _ => {}
    }
    let WalFile { name, path } = file;
    let data = context.data_of_server();
    let fetched = fetch::fetch(context, data.as_deref(), name, path)?;
    if let Some(spool) = &args.partial
        && fetched != Fetched::Delivered
        && fetch::first(context, |one| {
            spool::deliver(&one.stanza_of(data.as_deref())?, spool, name, path)
        })?
    {
        return Ok(Fetched::Delivered);
    }
    match fetched {
        Fetched::Hole if args.allow_hole => Ok(Fetched::Absent),
        fetched => Ok(fetched),
    }
}
