//! `adopt`: take over the WAL archive and the base backups of walmgr3.
//!
//! The stanza must exist. The old files are only read. What cannot be taken over is named,
//! everything else is taken over nevertheless, and the exit code says that something was left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use crate::adopt::base::{self, Hints};
use crate::adopt::layout::Layout;
use crate::adopt::{Refused, wal};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::repo::LockMode;

/// Arguments of `adopt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with logs.complete, logs.partial, data.master… and config.backup; else where the
    /// INI file says they are.
    directory: Option<PathBuf>,
    /// Time zone of the old server's log, in which it wrote backup labels; else this host's.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Where a tablespace was, if the copy does not say.
    #[arg(long, value_name = "OID=DIR")]
    tablespace_map: Vec<String>,
    /// Take over WAL only.
    #[arg(long)]
    wal_only: bool,
}

/// Take over what is there.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let layout = Layout::find(args.directory.as_deref(), &context.config.legacy)?;
    let hints = Hints { zone: zone(args)?, tablespaces: tablespaces(args)? };
    let stanza = context.stanza()?;
    // Adopted backups are older than the newest, so an expire that runs meanwhile would take their
    // packs for leftovers.
    let mut locks = Vec::new();
    if !context.dry_run {
        for (key, mode) in [("backup", LockMode::Exclusive), ("expire", LockMode::Shared)] {
            locks.push(stanza.store.lock(&stanza.key(&format!("locks/{key}")), mode)?);
        }
    }
    let mut refused = Refused::default();
    wal::complete(context, &stanza, &layout.complete, &mut refused)?;
    wal::partial(context, &stanza, &layout.partial, &mut refused)?;
    let backups = if args.wal_only { Vec::new() } else { layout.backups()? };
    for directory in backups {
        if let Err(why) = base::adopt(context, &stanza, &mut locks, &directory, &layout, &hints) {
            refused.add(&directory.display().to_string(), why)?;
        }
    }
    refused.outcome()
}

fn zone(args: &Args) -> Result<TimeZone> {
    match &args.time_zone {
        Some(name) => TimeZone::get(name).map_err(|error| Error::Usage(error.to_string())),
        None => Ok(TimeZone::system()),
    }
}

fn tablespaces(args: &Args) -> Result<BTreeMap<String, String>> {
    args.tablespace_map
        .iter()
        .map(|entry| {
            entry
                .split_once('=')
                .map(|(oid, place)| (oid.to_owned(), place.to_owned()))
                .filter(|(_, place)| place.starts_with('/'))
                .ok_or_else(|| Error::Usage(format!("\"{entry}\" is not of the form OID=DIR")))
        })
        .collect()
}
