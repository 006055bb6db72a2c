//! `boot`: promote the standby.

use std::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::{sql, standby};

/// Arguments of `boot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds to wait for the promotion.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// Promote.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    standby::require(&mut client)?;
    if context.dry_run {
        log::print("would promote the standby");
        return Ok(());
    }
    let timeline = standby::promote(&mut client, Duration::from_secs(args.timeout))?;
    log::notice(format_args!("the server is a primary on timeline {timeline}"));
    Ok(())
}
