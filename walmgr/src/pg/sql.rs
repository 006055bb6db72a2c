//! Questions to the running server. Connections are short and made where they are needed.

use std::collections::BTreeMap;

use pgq_connect::{Conninfo, quote};
use postgres::Client;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::log;
use crate::pg::transport::{DEFAULTS, Transport};
use crate::repo::stanza::{self, StanzaInfo};
use crate::wal::lsn::Lsn;
use crate::wal::name::Segment;

/// Connect as libpq would, by TLS where that is asked for or offered.
///
/// # Errors
/// [`Error::Usage`] for a string, an option or a certificate that cannot be used;
/// [`Error::Server`].
pub(crate) fn connect(transport: Transport, conninfo: &str) -> Result<Client> {
    let conninfo = Conninfo::with_defaults(conninfo, &DEFAULTS)?;
    let client = transport.connector(&conninfo)?.connect();
    let mut client = client.map_err(|error| match Error::from(error) {
        Error::Server(why) => Error::Server(format!("{}: {why}", place(&conninfo))),
        other => other,
    })?;
    // What a database's owner puts in its path is not for a superuser's session to run.
    client.batch_execute("set search_path = pg_catalog, pg_temp")?;
    Ok(client)
}

/// Where a server is looked for, as people say it.
fn place(conninfo: &Conninfo) -> String {
    let host = conninfo.get("host").or_else(|| conninfo.get("hostaddr")).unwrap_or_default();
    format!("host {host} port {}", conninfo.get("port").unwrap_or("5432"))
}

/// A setting's value; empty for one that the server does not know.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn setting(client: &mut Client, name: &str) -> Result<String> {
    let value: Option<String> =
        client.query_one("select pg_catalog.current_setting($1, true)", &[&name])?.get(0);
    Ok(value.unwrap_or_default())
}

/// walmgr's `archive_library`.
pub(crate) const LIBRARY: &str = "walmgr_archive";

/// What the server's archiver works through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Archiver {
    /// walmgr, as a library or as a command.
    Walmgr,
    /// Another library, which comes before any command.
    Library(String),
    /// Another command, or none.
    Command,
}

/// Ask the server what its archiver works through.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn archiver(client: &mut Client) -> Result<Archiver> {
    let library = setting(client, "archive_library")?;
    let file = library.rsplit('/').next().unwrap_or_default();
    Ok(if file.trim_end_matches(".so") == LIBRARY {
        Archiver::Walmgr
    } else if !library.is_empty() {
        Archiver::Library(library)
    } else if setting(client, "archive_command")?.contains("archive-push") {
        Archiver::Walmgr
    } else {
        Archiver::Command
    })
}

/// What a stanza for this server must say.
///
/// # Errors
/// [`Error::Server`]; [`Error::Usage`] before PostgreSQL 13.
pub(crate) fn stanza_info(client: &mut Client) -> Result<StanzaInfo> {
    let row = client.query_one(
        "select c.system_identifier::text,
                (select s.setting from pg_catalog.pg_settings s where s.name = 'wal_segment_size'),
                pg_catalog.current_setting('server_version_num')
           from pg_catalog.pg_control_system() c",
        &[],
    )?;
    let number = |at: usize| -> Result<u64> {
        let text: String = row.get(at);
        text.parse().map_err(|_| Error::Server(format!("unexpected answer \"{text}\"")))
    };
    let narrow = |value: u64| {
        u32::try_from(value).map_err(|_| Error::Server(format!("unexpected answer {value}")))
    };
    let pg_version = narrow(number(2)? / 10_000)?;
    if pg_version < 13 {
        return Err(Error::Usage(format!("PostgreSQL {pg_version} is too old: 13 is the oldest")));
    }
    Ok(StanzaInfo {
        format: stanza::FORMAT,
        system_identifier: number(0)?,
        wal_segment_size: narrow(number(1)?)?,
        pg_version,
    })
}

/// Names of databases by oid. Their encoding may be any: what is not UTF-8 is replaced.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn databases(client: &mut Client) -> Result<BTreeMap<String, String>> {
    let rows = client.query(
        "select d.oid::text, pg_catalog.convert_to(d.datname::text, 'SQL_ASCII')
           from pg_catalog.pg_database d",
        &[],
    )?;
    let name = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(rows.iter().map(|row| (row.get(0), name(row.get(1)))).collect())
}

/// Finish the current WAL segment; the segment that is finished.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn switch_wal(client: &mut Client, segment_size: u32) -> Result<Segment> {
    // A switch in an untouched segment does nothing; a restore point makes sure that there is
    // something to ship.
    client.query_one("select pg_catalog.pg_create_restore_point('walmgr')", &[])?;
    // The control file still has the old timeline for a while after a promotion; file names have
    // the current one.
    let row = client.query_one(
        "select s.lsn::text, pg_catalog.pg_walfile_name(s.lsn) from pg_catalog.pg_switch_wal() s \
         (lsn)",
        &[],
    )?;
    let lsn: Lsn = row.get::<_, String>(0).parse()?;
    let name: String = row.get(1);
    let named = Segment::parse(&name, segment_size)
        .ok_or_else(|| Error::Server(format!("unexpected answer \"{name}\"")))?;
    // Whether a position on a boundary belongs to the segment before it depends on the server's
    // version.
    Ok(lsn.segment_before(named.timeline, segment_size))
}

/// True when the archiver is done with a segment, as far as the server's statistics say.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn is_archived(client: &mut Client, segment: &str) -> Result<bool> {
    // Names of one timeline are in the order of the WAL; a file beside a segment begins as it does.
    let row = client.query_one(
        "select coalesce(pg_catalog.left(a.last_archived_wal, 8) = pg_catalog.left($1, 8)
                         and pg_catalog.left(a.last_archived_wal, 24) collate \"C\" >= $1, false)
           from pg_catalog.pg_stat_archiver a",
        &[&segment],
    )?;
    Ok(row.get(0))
}

/// Change a setting through `ALTER SYSTEM`, or reset it; a dry run prints the statement.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn alter_system(
    context: &Context,
    client: &mut Client,
    name: &str,
    value: Option<&str>,
) -> Result<()> {
    let statement = match value {
        Some(value) => format!("alter system set {name} = {}", quote::literal(value)),
        None => format!("alter system reset {name}"),
    };
    if context.dry_run {
        log::print(format_args!("would run: {statement}"));
        return Ok(());
    }
    client.batch_execute(&statement)?;
    log::notice(statement);
    Ok(())
}

/// Make the server read its configuration again.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn reload(client: &mut Client) -> Result<()> {
    client.query_one("select pg_catalog.pg_reload_conf()", &[])?;
    Ok(())
}

/// Names of settings that wait for a restart.
///
/// # Errors
/// [`Error::Server`].
pub(crate) fn pending_restart(client: &mut Client) -> Result<Vec<String>> {
    // pg_settings.pending_restart is only set once a backend has seen the reload; the files
    // themselves can be asked at once.
    let rows = client.query(
        "select distinct f.name
           from pg_catalog.pg_file_settings f
           join pg_catalog.pg_settings s on s.name = f.name
          where s.context = 'postmaster' and f.setting is distinct from s.setting
            and f.name in ('archive_mode', 'wal_level', 'max_wal_senders')
            and f.seqno = (select max(g.seqno) from pg_catalog.pg_file_settings g where g.name = \
            f.name)
          order by 1",
        &[],
    )?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
