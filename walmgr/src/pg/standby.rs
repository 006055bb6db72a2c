//! A standby's replay: whether there is one, how far it is, pausing, promoting.

use std::time::{Duration, Instant};

use postgres::Client;

use crate::error::{Error, Result};

/// True on a server in recovery.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn in_recovery(client: &mut Client) -> Result<bool> {
    Ok(client.query_one("select pg_catalog.pg_is_in_recovery()", &[])?.get(0))
}

/// Refuse a server that is not in recovery.
///
/// # Errors
/// [`Error::Usage`].
pub(crate) fn require(client: &mut Client) -> Result<()> {
    if in_recovery(client)? {
        return Ok(());
    }
    Err(Error::Usage("the server is a primary, not a standby".to_owned()))
}

/// Pause replay, and wait until it stands still.
///
/// # Errors
/// [`Error::Failed`] when it does not within the time.
pub(crate) fn pause(client: &mut Client, patience: Duration) -> Result<()> {
    client.execute("select pg_catalog.pg_wal_replay_pause()", &[])?;
    let version: String = client.query_one("show server_version_num", &[])?.get(0);
    // Before 14, a requested pause could not be told from one that has begun.
    let question = if version.parse().is_ok_and(|number: u32| number >= 140_000) {
        "select pg_catalog.pg_get_wal_replay_pause_state() = 'paused'"
    } else {
        "select pg_catalog.pg_is_wal_replay_paused()"
    };
    let paused = poll(patience, || Ok(client.query_one(question, &[])?.get(0)))?;
    if paused { Ok(()) } else { Err(Error::Failed("replay did not pause in time".to_owned())) }
}

/// Let replay go on.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn resume(client: &mut Client) -> Result<()> {
    client.execute("select pg_catalog.pg_wal_replay_resume()", &[])?;
    Ok(())
}

/// Promote, and wait until the server is a primary; its new timeline.
///
/// # Errors
/// [`Error::Failed`] when it is not within the time.
pub(crate) fn promote(client: &mut Client, patience: Duration) -> Result<u32> {
    let seconds = i32::try_from(patience.as_secs().max(1)).unwrap_or(i32::MAX);
    let done: bool =
        client.query_one("select pg_catalog.pg_promote(true, $1)", &[&seconds])?.get(0);
    if !done {
        return Err(Error::Failed(format!("the server was not promoted within {seconds} s")));
    }
    timeline(client)
}

/// The timeline that the server is on, as far as it knows itself on a standby.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn timeline(client: &mut Client) -> Result<u32> {
    // The name of the current WAL file tells at once, the control file only after the next
    // checkpoint.
    let query = "select case when pg_catalog.pg_is_in_recovery()
             then (select greatest(c.timeline_id, r.min_recovery_end_timeline)
                     from pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() \
                     r)::int8
             else ('x' || substr(pg_catalog.pg_walfile_name(
                     case when not pg_catalog.pg_is_in_recovery() then \
                     pg_catalog.pg_current_wal_lsn() end), 1, 8)
                  )::bit(32)::int8
             end";
    let number: i64 = client.query_one(query, &[])?.get(0);
    u32::try_from(number).map_err(|_| Error::Server(format!("unexpected answer {number}")))
}

/// Ask until the answer is yes; false when the time is up.
pub(crate) fn poll(patience: Duration, mut ask: impl FnMut() -> Result<bool>) -> Result<bool> {
    let end = Instant::now() + patience;
    loop {
        if ask()? {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
