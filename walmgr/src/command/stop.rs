//! `stop`: make the server archive to this repository no more.

use crate::context::Context;
use crate::error::{Error, Result};
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
    let mut client = sql::connect(context.transport, context.config.connect()?)?;
    let value = if args.discard { "/bin/true" } else { "" };
    if let sql::Archiver::Library(library) = sql::archiver(&mut client)? {
        return Err(Error::Usage(format!(
            "the server archives through archive_library = '{library}', which is not walmgr's"
        )));
    }
    if !sql::setting(&mut client, "archive_library")?.is_empty() {
        sql::alter_system(context, &mut client, "archive_library", Some(""))?;
    }
    sql::alter_system(context, &mut client, "archive_command", Some(value))?;
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
