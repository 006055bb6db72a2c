//! `periodic`: run the site's periodic command, if it is time again.
//!
//! Meant for a timer. Unlike in walmgr3 it is never in the way of archiving, and its failure is a
//! failure.

use std::time::SystemTime;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::process;
use crate::restore::place::write_synced;

/// File in the data directory whose age says when the command last succeeded.
const STAMP: &str = "walmgr.periodic";

/// Run the command if it is due.
pub(crate) fn run(context: &Context) -> Result<()> {
    let Some(command) = &context.config.commands.periodic else {
        return Err(Error::Usage("commands.periodic is not set".to_owned()));
    };
    let stamp = context.config.data()?.join(STAMP);
    let age = stamp.metadata().and_then(|meta| meta.modified()).ok().map(|time| {
        // A stamp from the future says nothing.
        SystemTime::now().duration_since(time).unwrap_or(std::time::Duration::MAX)
    });
    let interval = context.config.commands.periodic_interval.unwrap_or_default();
    if age.is_some_and(|age| age < interval) {
        log::debug("the periodic command is not due yet");
        return Ok(());
    }
    if context.dry_run {
        log::print(format_args!("would run: {command}"));
        return Ok(());
    }
    process::shell(command)?;
    write_synced(&stamp, b"")
}
