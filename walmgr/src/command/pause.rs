//! `pause`: make the standby stop replaying; `continue` lets it go on.

use std::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::{sql, standby};

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds to wait until replay stands still.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// Pause.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    standby::require(&mut client)?;
    if context.dry_run {
        log::print("would pause replay");
        return Ok(());
    }
    standby::pause(&mut client, Duration::from_secs(args.timeout))?;
    log::notice("replay is paused");
    Ok(())
}
