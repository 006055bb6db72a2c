//! What the server says of its archiver.

use jiff::Timestamp;

use super::exposition::Samples;
use super::{names, seconds};
use crate::context::Context;
use crate::error::Result;
use crate::log;
use crate::pg::{sql, standby};
use crate::wal::lsn::Lsn;

/// Where a server that writes WAL is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// Its timeline.
    pub(super) timeline: u32,
    /// The end of what it has written.
    pub(super) lsn: Lsn,
}

/// Ask the server, if the configuration names one; where it is, if it writes WAL.
pub(super) fn gather(context: &Context, samples: &mut Samples, now: Timestamp) -> Option<Position> {
    let labels = [("stanza", context.config.stanza.as_str())];
    if let Some(data) = &context.config.cluster.data
        && let Ok(entries) = std::fs::read_dir(data.join("pg_wal/archive_status"))
    {
        let is_ready = |name: std::ffi::OsString| name.to_string_lossy().ends_with(".ready");
        let ready = entries.flatten().filter(|entry| is_ready(entry.file_name())).count();
        samples.set(&names::READY_FILES, &labels, ready);
    }
    let conninfo = context.config.cluster.connect.as_deref()?;
    let mut own = Samples::default();
    let asked = ask(context, conninfo, &mut own, &labels, now);
    samples.set(&names::SERVER_UP, &labels, u8::from(asked.is_ok()));
    match asked {
        Ok(position) => {
            samples.extend(own);
            position
        }
        Err(error) => {
            log::warning(&error);
            None
        }
    }
}

fn ask(
    context: &Context,
    conninfo: &str,
    samples: &mut Samples,
    labels: &[(&str, &str)],
    now: Timestamp,
) -> Result<Option<Position>> {
    let mut client = sql::connect(context.transport, conninfo)?;
    let in_recovery = standby::in_recovery(&mut client)?;
    samples.set(&names::SERVER_IN_RECOVERY, labels, u8::from(in_recovery));
    let row = client.query_one(
        "select a.archived_count, a.failed_count, a.last_archived_time, a.last_failed_time
           from pg_catalog.pg_stat_archiver a",
        &[],
    )?;
    samples.set(&names::ARCHIVED, labels, row.get::<_, i64>(0));
    samples.set(&names::FAILED, labels, row.get::<_, i64>(1));
    let time = |at: usize| -> Option<Timestamp> {
        let time: Option<std::time::SystemTime> = row.get(at);
        time.and_then(|time| Timestamp::try_from(time).ok())
    };
    if let Some(time) = time(2) {
        samples.set(&names::LAST_ARCHIVED, labels, seconds(time));
        samples.set(&names::LAST_ARCHIVED_AGE, labels, seconds(now) - seconds(time));
    }
    if let Some(time) = time(3) {
        samples.set(&names::LAST_FAILED, labels, seconds(time));
    }
    if in_recovery {
        return Ok(None);
    }
    let row = client.query_one("select pg_catalog.pg_current_wal_lsn()::text", &[])?;
    let lsn: Lsn = row.get::<_, String>(0).parse()?;
    Ok(Some(Position { timeline: standby::timeline(&mut client)?, lsn }))
}
