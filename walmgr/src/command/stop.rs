//! `stop`: make the server archive to this repository no more.

use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::sql;

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Let the server throw WAL away from now on, instead of keeping it until somebody archives it.
    #[arg(long)]
    discard: bool,
}

/// Unwire a server.
pub(crate) fn run(context: &Context, args: &Args) -> Result<()> {
    let mut client = sql::connect(context.config.connect()?)?;
    let value = if args.discard { "/bin/true" } else { "" };
    sql::alter_system(context, &mut client, "archive_command", Some(value))?;
    if sql::setting(&mut client, "archive_library")? == sql::LIBRARY {
        sql::alter_system(context, &mut client, "archive_library", Some(""))?;
    }
    if context.dry_run {
        return Ok(());
    }
    sql::reload(&mut client)?;
    if args.discard {
        log::warning("WAL is thrown away from now on: what follows cannot be restored");
    } else {
        log::warning("WAL is kept from now on, and pg_wal grows until something archives it");
    }
    Ok(())
}
