//! `pin`: keep a backup whatever the rules say; `unpin` leaves it to them again.

use jiff::Timestamp;

use crate::backup::info;
use crate::backup::pin::{self, Pin};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::repo::stanza::Stanza;
use crate::restore::target::parse_time;

/// Arguments of `pin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The backup.
    backup: String,
    /// Leave it to the rules again from this time on; else for ever, until `unpin`.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Words to remember why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Arguments of `unpin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unpin {
    /// The backup.
    backup: String,
}

/// Pin a backup.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let now = Timestamp::now();
    let until = args.until.as_deref().map(parse_time).transpose()?;
    if let Some(until) = until.filter(|until| *until <= now) {
        return Err(Error::Usage(format!("--until {} is in the past", log::time(until))));
    }
    let stanza = stanza_with(context, &args.backup)?;
    // An expire that has decided already must not remove it now.
    let _lock = context.reading(&stanza)?;
    find(&stanza, &args.backup)?;
    let id = &args.backup;
    let end =
        until.map_or_else(|| "for ever".to_owned(), |time| format!("until {}", log::time(time)));
    if context.dry_run {
        log::print(format_args!("would pin backup {id} {end}"));
        return Ok(());
    }
    pin::set(&stanza, id, &Pin { since: now, until, reason: args.reason.clone() })?;
    log::notice(format_args!(
        "backup {id} is kept {end}, with the WAL of its own; the rules decide on the WAL after it"
    ));
    Ok(())
}

/// Leave a backup to the rules again.
pub(crate) fn unpin(context: &Context, args: &Unpin) -> Result<()> {
    // Also one whose pin, or which itself, cannot be read: that is what to do about it.
    let stanza = stanza_with(context, &args.backup)?;
    let id = &args.backup;
    find(&stanza, id)?;
    if context.dry_run {
        log::print(format_args!("would unpin backup {id}"));
        return Ok(());
    }
    match pin::remove(&stanza, id)? {
        true => log::notice(format_args!("backup {id} is left to the rules again")),
        false => log::notice(format_args!("backup {id} is not pinned")),
    }
    Ok(())
}

/// A pin as people read it.
pub(crate) fn shown(pin: &Pin) -> String {
    let until = match pin.until {
        Some(until) => format!("pinned until {}", log::time(until)),
        None => "pinned".to_owned(),
    };
    if pin.reason.is_empty() { until } else { format!("{until}: {}", pin.reason) }
}

/// Open what the stanza has of the system that a backup is of; of the present one, if there is no
/// such backup.
pub(crate) fn stanza_with(context: &Context, backup: &str) -> Result<Stanza> {
    for stanza in context.systems()? {
        if info::is_there(&stanza, backup)? {
            return Ok(stanza);
        }
    }
    context.stanza()
}

fn find(stanza: &Stanza, id: &str) -> Result<()> {
    match info::is_there(stanza, id)? {
        true => Ok(()),
        false => {
            Err(Error::NotFound(format!("backup \"{id}\" does not exist (walmgr listbackups)")))
        }
    }
}
