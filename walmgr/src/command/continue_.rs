//! `continue`: let a paused standby replay again.

use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::{sql, standby};

/// Continue.
pub(crate) fn run(context: &Context) -> Result<()> {
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    standby::require(&mut client)?;
    if context.dry_run {
        log::print("would let replay go on");
        return Ok(());
    }
    standby::resume(&mut client)?;
    log::notice("replay goes on");
    Ok(())
}
