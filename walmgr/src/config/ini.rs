//! INI files of walmgr3: section `[walmgr]`, in SkyTools' dialect ([`pgq_ini`]).
//!
//! Each of its keys is either mapped, ignored because what it asked for is always so now, or
//! refused by name. Nothing is dropped silently.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pgq_ini::{Ini, Section};

use crate::adopt::settings::Legacy;
use crate::backup::settings::Backup;
use crate::config::original::Original;
use crate::config::{Archive, Commands, Config, Standby};
use crate::daemon::settings::Daemon;
use crate::error::{Error, Result};
use crate::expire::settings::Expire;
use crate::limit::settings::Limits;
use crate::log;
use crate::log::settings::Log;
use crate::pg::settings::Cluster;
use crate::repo::settings::Repository;
use crate::repo::ssh::settings::Ssh;
use crate::sync::settings::Streaming;
use crate::value::parse_duration;

/// Keys without an effect any more, and why that is all right.
const IGNORED: [(&str, &str); 23] = [
    ("compression", "WAL is always compressed"),
    ("use_xlog_functions", "positions always come from the server"),
    ("keep_symlinks", "links are always kept"),
    ("hot_standby", "wal_level = replica is enough for both"),
    ("backup_datadir", "restore never removes a data directory by itself"),
    ("slave_config", "the standby has its own file"),
    ("slave_config_dir", "configuration files are part of a backup"),
    ("master_config", "settings are made through ALTER SYSTEM"),
    ("slave_stop_cmd", "a running server is refused, never stopped"),
    ("slave_pg_xlog", "pg_wal is restored in place"),
    ("logfile", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
    ("pidfile", "walmgr runs in the foreground of a service manager"),
    ("loop_delay", "nothing polls"),
    ("log_size", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
    ("log_count", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
    ("use_skylog", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
    ("skylog_locations", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
    ("exception_sleep", "failures are retried with back-off"),
    ("exception_quiet", "failures are retried with back-off"),
    ("exception_grace", "failures are retried with back-off"),
    ("exception_reset", "failures are retried with back-off"),
    ("connection_lifetime", "connections are short"),
    ("logdatefmt_file", "messages go to standard error; a TOML file can say log.to = 'syslog'"),
];

/// Keys that asked for something that is not done any more.
const REFUSED: [(&str, &str); 1] =
    [("archive_command", "there is no hook before a backup expires: remove this key")];

/// Keys with a place that may be on another host, `host:path`.
const PLACES: [&str; 4] = ["completed_wals", "partial_wals", "full_backup", "config_backup"];

/// The section of walmgr3.
const SECTION: &str = "walmgr";

/// True when the file begins with a section `[walmgr]`, as walmgr3 has it, or with its defaults.
pub(crate) fn looks_like_ini(text: &str) -> bool {
    matches!(pgq_ini::first_section(text), Some(SECTION | "DEFAULT"))
}

/// Read an INI file.
///
/// # Errors
/// [`Error::Usage`] for syntax, unknown or refused keys.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Config> {
    read(text, path).map_err(|error| Error::Usage(error.to_string()))
}

fn read(text: &str, path: &Path) -> std::result::Result<Config, pgq_ini::Error> {
    let ini = Ini::parse(path, text)?;
    if let Some(other) = ini.section_names().find(|name| *name != SECTION) {
        let why = format!("{}: only section [{SECTION}] is known, not [{other}]", path.display());
        return Err(pgq_ini::Error::Wrong(why));
    }
    let mut keys = ini.section(SECTION)?;
    for (key, why) in REFUSED {
        if keys.take(key)?.is_some() {
            return Err(keys.wrong(key, why));
        }
    }
    let stanza = keys.require("job_name")?;
    let home = keys.literal("walmgr_data").is_some_and(|value| value.starts_with('~'));
    let repository = keys
        .file("walmgr_data")?
        .ok_or_else(|| keys.wrong("walmgr_data", "is not set: the repository is made below it"))?;
    let host = other_host(&mut keys)?;
    if let Some(host) = host.as_ref().filter(|_| home) {
        let why = format!("give an absolute path, since ~ on {host} may be another one than here");
        return Err(keys.wrong("walmgr_data", why));
    }
    let stored = repository.join("repository");
    let [master_data, slave_data] = [keys.file("master_data")?, keys.file("slave_data")?];
    let [master_bin, slave_bin] = [keys.file("master_bin")?, keys.file("slave_bin")?];
    let keep = keys.number::<usize>("keep_backups")?;
    let interval =
        match keys.take("command_interval")? {
            Some(text) => Some(parse_duration(&text).ok_or_else(|| {
                keys.wrong("command_interval", format!("\"{text}\" is no duration"))
            })?),
            None => None,
        };
    let mut place = |key: &str| -> std::result::Result<Option<PathBuf>, pgq_ini::Error> {
        Ok(keys.file(key)?.filter(|_| host.is_none()))
    };
    let legacy = Legacy {
        top: Some(repository.clone()),
        complete: place("completed_wals")?,
        partial: place("partial_wals")?,
        backup: place("full_backup")?,
        config: place("config_backup")?,
    };
    let stored = Repository {
        path: host.is_none().then(|| stored.clone()),
        ssh: host.as_ref().map(|host| Ssh::new(host, stored)),
        ..Repository::main()
    };
    let config = Config {
        stanza,
        cluster: Cluster {
            data: master_data.or(slave_data),
            bin: master_bin.or(slave_bin),
            connect: keys.take("master_db")?,
        },
        repositories: vec![stored.clone()],
        repository: stored,
        left_out: None,
        archive: Archive::default(),
        backup: Backup::default(),
        // walmgr3 deleted before it copied; its 0 meant "only the new one".
        limits: Limits::default(),
        expire: Expire { keep: keep.map(|keep| keep.max(1)), ..Expire::default() },
        standby: Standby { primary_conninfo: keys.take("primary_conninfo")?, slot: None },
        daemon: Daemon::default(),
        sync: Streaming { directory: Some(repository.join("partial")), slot: None },
        commands: Commands {
            start: keys.take("slave_start_cmd")?,
            restart: keys.take("master_restart_cmd")?,
            periodic: keys.take("periodic_command")?,
            periodic_interval: interval,
        },
        log: Log::default(),
        legacy,
        file: Original::default(),
    };
    for (key, why) in IGNORED {
        if keys.ignore(key) {
            log::debug(format_args!("{}: {key} has no effect: {why}", path.display()));
        }
    }
    keys.end()?;
    Ok(config)
}

/// The host that all places are on, when they are not on this one. `slave` alone names it when no
/// place is given.
fn other_host(keys: &mut Section<'_>) -> std::result::Result<Option<String>, pgq_ini::Error> {
    let slave = keys.take("slave")?;
    let mut hosts = BTreeSet::new();
    for key in PLACES {
        if let Some(value) = keys.take(key)? {
            hosts.insert(host_of(&value).map(str::to_owned));
        }
    }
    match (hosts.pop_first(), hosts.pop_first()) {
        (None, _) => Ok(slave),
        (Some(host), None) => Ok(host),
        (Some(_), Some(_)) => {
            let why =
                format!("{} are on different hosts: a repository is on one", PLACES.join(", "));
            Err(pgq_ini::Error::Wrong(why))
        }
    }
}

/// The host in `host:path`, as rsync has it.
fn host_of(value: &str) -> Option<&str> {
    value.split_once(':').map(|(host, _)| host).filter(|host| !host.contains('/'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::parse;

    const MASTER: &str = "[walmgr]\njob_name = wal-main\nlogfile = ~/log/%(job_name)s.log\n\
        master_db = dbname=template1 password=x%%y\nmaster_data = /pg/%(base)s/main\nbase = 15\n\
        walmgr_data = /shared/walshipping\ncompleted_wals = %(walmgr_data)s/logs.complete\n\
        keep_backups = 0\n; a comment\nperiodic_command = /bin/true\ncommand_interval = 600\n";

    #[test]
    fn a_file_of_walmgr3_is_understood() {
        let config = parse(MASTER, Path::new("/etc/wal-main.ini")).unwrap();
        assert_eq!(config.stanza, "wal-main");
        assert_eq!(config.cluster.data.unwrap(), Path::new("/pg/15/main"));
        assert_eq!(config.cluster.connect.unwrap(), "dbname=template1 password=x%y");
        assert_eq!(config.repository.path.unwrap(), Path::new("/shared/walshipping/repository"));
        assert_eq!(config.expire.keep, Some(1));
        assert_eq!(config.commands.periodic_interval.unwrap().as_secs(), 600);
        let complete = config.legacy.complete.unwrap();
        assert_eq!(complete, Path::new("/shared/walshipping/logs.complete"));
    }

    #[test]
    fn what_cannot_be_done_any_more_is_refused_by_name() {
        for (line, word) in [
            ("archive_command = x", "archive_command"),
            ("full_backup = host2:/backup/data.master", "full_backup"),
            ("no_such_key = 1", "no_such_key"),
            ("master_bin = %(nothing)s", "nothing"),
            ("keep_backups = 1", "\"keep_backups\" appears twice"),
            ("slave_bin = ~no_such_user_here/bin", "nobody's home"),
            ("[wal-slave]", "only section [walmgr] is known, not [wal-slave]"),
        ] {
            is_refused(&format!("{MASTER}{line}\n"), word);
        }
        is_refused("[walmgr]\nwalmgr_data = ~/x\ncompleted_wals = host2:/x\n", "walmgr_data");
    }

    #[track_caller]
    fn is_refused(text: &str, word: &str) {
        let error = parse(text, Path::new("x.ini")).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }

    #[test]
    fn keys_without_an_effect_may_say_anything() {
        let text = "[DEFAULT]\nlogs = /var/log\n[walmgr]\nwalmgr_data = /w\ntemp = %(logs)s/x\n\
            logfile = %(temp)s/%(job_name)s.log ; unused\nlogdatefmt_file = %H:%M\n";
        let config = parse(text, Path::new("/etc/wal-main.ini")).unwrap();
        assert_eq!(config.stanza, "wal-main");
        assert!(super::looks_like_ini(text));
        assert!(!super::looks_like_ini("stanza = 'x'\n"));
    }

    #[test]
    fn places_on_the_slave_are_a_repository_over_there() {
        let at = |lines: &str| {
            let text = format!("[walmgr]\nwalmgr_data = /w\n{lines}");
            let config = parse(&text, Path::new("x.ini")).unwrap();
            config.repository.location().map(|location| location.to_string()).unwrap()
        };
        let all = "slave = host2\ncompleted_wals = %(slave)s:%(walmgr_data)s/logs.complete\n\
            full_backup = %(slave)s:%(walmgr_data)s/data.master\n";
        assert_eq!(at(all), "ssh://host2/w/repository");
        assert_eq!(at("slave = postgres@host2\n"), "ssh://postgres@host2/w/repository");
        assert_eq!(at("slave = host2\ncompleted_wals = /w/logs.complete\n"), "/w/repository");
    }

    #[test]
    fn the_file_name_is_the_job_name() {
        let config = parse("[walmgr]\nwalmgr_data=/x\n", Path::new("/etc/other.ini")).unwrap();
        assert_eq!(config.stanza, "other");
    }
}
