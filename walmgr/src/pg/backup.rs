//! The server's side of a base backup: start, stop, and what the server says about it.

use std::time::SystemTime;

use postgres::Client;

use crate::error::{Error, Result};
use crate::wal::lsn::Lsn;

/// A backup in progress. The session must stay open until [`Session::stop`]; when it is lost, the
/// server forgets the backup.
pub(crate) struct Session {
    client: Client,
    new_names: bool,
    /// Where replay of the backup begins.
    pub(crate) start: Lsn,
    /// The timeline at the start.
    pub(crate) timeline: u32,
    /// True on a standby.
    pub(crate) on_standby: bool,
    /// When it began, by the server's clock.
    pub(crate) start_time: SystemTime,
}

/// What the server says at the end.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    /// Replay must reach this position for the backup to be consistent.
    pub(crate) stop: Lsn,
    /// Content of `backup_label`, byte for byte.
    pub(crate) label: String,
    /// When it ended, by the server's clock.
    pub(crate) stop_time: SystemTime,
}

impl Session {
    /// Begin a non-exclusive backup.
    ///
    /// # Errors
    /// [`Error::Server`], for instance when `wal_level` is minimal.
    pub(crate) fn start(mut client: Client, label: &str, fast: bool) -> Result<Self> {
        let version: String = client.query_one("show server_version_num", &[])?.get(0);
        let new_names = version.parse().is_ok_and(|number: u32| number >= 150_000);
        // The session idles while files are copied; no time limit of the site may end it.
        client.execute(
            "select pg_catalog.set_config(s.name, '0', false) from pg_catalog.pg_settings s
              where s.name in ('idle_session_timeout', 'statement_timeout')",
            &[],
        )?;
        let on_standby: bool =
            client.query_one("select pg_catalog.pg_is_in_recovery()", &[])?.get(0);
        let call = if new_names {
            "select pg_catalog.pg_backup_start($1, $2)::text, pg_catalog.clock_timestamp()"
        } else {
            "select pg_catalog.pg_start_backup($1, $2, false)::text, pg_catalog.clock_timestamp()"
        };
        let row = client.query_one(call, &[&label, &fast])?;
        let start = row.get::<_, String>(0).parse()?;
        let start_time = row.get(1);
        let timeline = timeline(&mut client)?;
        Ok(Self { client, new_names, start, timeline, on_standby, start_time })
    }

    /// End the backup. On a primary this also finishes the WAL segment that the backup ends in.
    ///
    /// # Errors
    /// [`Error::Server`], for instance when a standby was promoted meanwhile.
    pub(crate) fn stop(mut self) -> Result<(Stopped, Client)> {
        let call = if self.new_names {
            "select s.lsn::text, s.labelfile, pg_catalog.clock_timestamp() from pg_catalog.pg_backup_stop(false) s"
        } else {
            "select s.lsn::text, s.labelfile, pg_catalog.clock_timestamp() from pg_catalog.pg_stop_backup(false, false) s"
        };
        let row = self.client.query_one(call, &[])?;
        let stopped = Stopped {
            stop: row.get::<_, String>(0).parse()?,
            label: row.get(1),
            stop_time: row.get(2),
        };
        let timeline = label_timeline(&stopped.label).unwrap_or(self.timeline);
        if timeline != self.timeline {
            return Err(Error::Server(format!(
                "the timeline changed from {} to {timeline} during the backup",
                self.timeline
            )));
        }
        Ok((stopped, self.client))
    }
}

/// The timeline that replay of a backup starts on, as its label says.
fn label_timeline(label: &str) -> Option<u32> {
    label.lines().find_map(|line| line.strip_prefix("START TIMELINE: "))?.trim().parse().ok()
}

/// The server's timeline at its last checkpoint; a backup has just made one.
fn timeline(client: &mut Client) -> Result<u32> {
    let row = client
        .query_one("select timeline_id::int8 from pg_catalog.pg_control_checkpoint()", &[])?;
    u32::try_from(row.get::<_, i64>(0)).map_err(|error| Error::Server(error.to_string()))
}
