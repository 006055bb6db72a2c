//! INI files of walmgr3: section `[walmgr]`, `%(key)s` interpolation, `~` in paths.
//!
//! Each of its keys is either mapped, ignored because what it asked for is always so now, or
//! refused by name. Nothing is dropped silently.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::value::parse_duration;
use crate::config::{
    Archive, Backup, Cluster, Commands, Config, Daemon, Expire, Legacy, Limits, Log, Repository,
    Ssh, Standby, Streaming,
};
use crate::error::{Error, Result};
use crate::log;

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

/// True when the first section of the file is `[walmgr]` without quotes or dots around, as walmgr3
/// has it.
pub(crate) fn looks_like_ini(text: &str) -> bool {
    let first =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', ';']));
    first == Some("[walmgr]")
}

/// Read an INI file.
///
/// # Errors
/// [`Error::Usage`] for syntax, unknown or refused keys.
pub(crate) fn parse(text: &str, path: &Path) -> Result<Config> {
    let usage = |why: String| Error::Usage(format!("{}: {why}", path.display()));
    let mut keys = Keys::read(text, path).map_err(usage)?;
    for (key, why) in REFUSED {
        if keys.take(key).map_err(usage)?.is_some() {
            return Err(usage(format!("{key}: {why}")));
        }
    }
    let stanza = keys.take("job_name").map_err(usage)?.unwrap_or_default();
    let repository = keys.take_path("walmgr_data").map_err(usage)?.ok_or_else(|| {
        usage("walmgr_data is not set: the repository is made below it".to_owned())
    })?;
    let host = other_host(&mut keys).map_err(usage)?;
    let home = keys.raw.get("walmgr_data").is_some_and(|value| value.starts_with('~'));
    if let Some(host) = host.as_ref().filter(|_| home) {
        return Err(usage(format!(
            "walmgr_data: give an absolute path, since ~ on {host} may be another one than here"
        )));
    }
    let stored = repository.join("repository");
    let mut data = [None, None];
    for (slot, key) in data.iter_mut().zip(["master_data", "slave_data"]) {
        *slot = keys.take_path(key).map_err(usage)?;
    }
    let mut bin = [None, None];
    for (slot, key) in bin.iter_mut().zip(["master_bin", "slave_bin"]) {
        *slot = keys.take_path(key).map_err(usage)?;
    }
    let [master_data, slave_data] = data;
    let [master_bin, slave_bin] = bin;
    let keep = match keys.take("keep_backups").map_err(usage)? {
        Some(text) => Some(
            text.parse::<usize>()
                .map_err(|_| usage(format!("keep_backups = {text} is no number")))?,
        ),
        None => None,
    };
    let interval = match keys.take("command_interval").map_err(usage)? {
        Some(text) => Some(
            parse_duration(&text)
                .ok_or_else(|| usage(format!("command_interval = {text} is no duration")))?,
        ),
        None => None,
    };
    let mut place = |key: &str| -> Result<Option<PathBuf>> {
        let place = keys.take_path(key).map_err(usage)?;
        Ok(place.filter(|_| host.is_none()))
    };
    let legacy = Legacy {
        top: Some(repository.clone()),
        complete: place("completed_wals")?,
        partial: place("partial_wals")?,
        backup: place("full_backup")?,
        config: place("config_backup")?,
    };
    let mut take = |key: &str| keys.take(key).map_err(usage);
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
            connect: take("master_db")?,
        },
        repositories: vec![stored.clone()],
        repository: stored,
        others: Vec::new(),
        archive: Archive::default(),
        backup: Backup::default(),
        // walmgr3 deleted before it copied; its 0 meant "only the new one".
        limits: Limits::default(),
        expire: Expire { keep: keep.map(|keep| keep.max(1)), ..Expire::default() },
        standby: Standby { primary_conninfo: take("primary_conninfo")?, slot: None },
        daemon: Daemon::default(),
        sync: Streaming { directory: Some(repository.join("partial")), slot: None },
        commands: Commands {
            start: take("slave_start_cmd")?,
            restart: take("master_restart_cmd")?,
            periodic: take("periodic_command")?,
            periodic_interval: interval,
        },
        log: Log::default(),
        legacy,
        file: path.to_owned(),
    };
    for (key, why) in IGNORED {
        if keys.take(key).map_err(usage)?.is_some() {
            log::debug(format_args!("{}: {key} has no effect: {why}", path.display()));
        }
    }
    match keys.rest() {
        Some(key) => Err(usage(format!("unknown key {key}"))),
        None => Ok(config),
    }
}

/// The host that all places are on, when they are not on this one. `slave` alone names it when no
/// place is given.
fn other_host(keys: &mut Keys) -> std::result::Result<Option<String>, String> {
    let slave = keys.take("slave")?;
    let mut hosts = BTreeSet::new();
    for key in PLACES {
        if let Some(value) = keys.get(key)? {
            hosts.insert(host_of(&value).map(str::to_owned));
        }
    }
    match (hosts.pop_first(), hosts.pop_first()) {
        (None, _) => Ok(slave),
        (Some(host), None) => Ok(host),
        (Some(_), Some(_)) => {
            Err(format!("{} are on different hosts: a repository is on one", PLACES.join(", ")))
        }
    }
}

/// The host in `host:path`, as rsync has it.
fn host_of(value: &str) -> Option<&str> {
    value.split_once(':').map(|(host, _)| host).filter(|host| !host.contains('/'))
}

/// The keys of section `[walmgr]` that were not taken yet.
struct Keys {
    raw: BTreeMap<String, String>,
    taken: BTreeMap<String, ()>,
}

impl Keys {
    fn read(text: &str, path: &Path) -> std::result::Result<Self, String> {
        let mut raw: BTreeMap<String, String> = BTreeMap::new();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("walmgr");
        let config_dir = path.parent().map_or(String::new(), |dir| dir.display().to_string());
        raw.insert("job_name".to_owned(), stem.to_owned());
        let mut builtin = BTreeMap::new();
        builtin.insert("service_name".to_owned(), "walmgr".to_owned());
        builtin.insert("config_dir".to_owned(), config_dir);
        builtin.insert("config_file".to_owned(), path.display().to_string());
        builtin.insert(
            "host_name".to_owned(),
            rustix::system::uname().nodename().to_string_lossy().into_owned(),
        );
        let mut last: Option<String> = None;
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            if trimmed.starts_with('[') {
                if trimmed != "[walmgr]" {
                    return Err(format!("line {}: only section [walmgr] is known", number + 1));
                }
                continue;
            }
            if line.starts_with([' ', '\t'])
                && let Some(value) = last.as_ref().and_then(|key| raw.get_mut(key))
            {
                value.push('\n');
                value.push_str(trimmed);
                continue;
            }
            let Some(at) = trimmed.find(['=', ':']) else {
                return Err(format!("line {}: no \"=\"", number + 1));
            };
            let (key, value) = trimmed.split_at(at);
            let key = key.trim().to_ascii_lowercase();
            let value = value.get(1..).unwrap_or_default();
            let value = value.split_once(" ;").map_or(value, |(value, _)| value).trim();
            raw.insert(key.clone(), value.to_owned());
            last = Some(key);
        }
        let taken = builtin.keys().map(|key| (key.clone(), ())).collect();
        for (key, value) in builtin {
            raw.entry(key).or_insert(value);
        }
        Ok(Self { raw, taken })
    }

    fn get(&self, key: &str) -> std::result::Result<Option<String>, String> {
        self.raw.get(key).map(|value| self.expand(value, 0)).transpose()
    }

    fn take(&mut self, key: &str) -> std::result::Result<Option<String>, String> {
        let value = self.get(key)?;
        self.taken.insert(key.to_owned(), ());
        Ok(value.filter(|value| !value.is_empty()))
    }

    fn take_path(&mut self, key: &str) -> std::result::Result<Option<PathBuf>, String> {
        let home = || std::env::var("HOME").unwrap_or_default();
        Ok(self.take(key)?.map(|value| match value.strip_prefix('~') {
            Some(rest) => PathBuf::from(format!("{}{rest}", home())),
            None => PathBuf::from(value),
        }))
    }

    /// A key that nobody asked for. Keys that only others refer to may have any name.
    fn rest(&self) -> Option<&String> {
        let referred =
            |key: &str| self.raw.values().any(|value| value.contains(&format!("%({key})s")));
        self.raw.keys().find(|key| !self.taken.contains_key(*key) && !referred(key))
    }

    fn expand(&self, value: &str, depth: u8) -> std::result::Result<String, String> {
        if depth > 10 {
            return Err(format!("\"{value}\" refers to itself"));
        }
        let mut out = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            if let Some(after) = from.strip_prefix("%%") {
                out.push('%');
                rest = after;
            } else if let Some((key, after)) =
                from.strip_prefix("%(").and_then(|inner| inner.split_once(")s"))
            {
                let inner = self.raw.get(&key.to_ascii_lowercase());
                let inner = inner.ok_or_else(|| format!("%({key})s is not set"))?;
                out.push_str(&self.expand(inner, depth + 1)?);
                rest = after;
            } else {
                return Err(format!("\"{value}\" has a % that is neither %% nor %(key)s"));
            }
        }
        out.push_str(rest);
        Ok(out)
    }
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
            ("walmgr_data = ~/x\ncompleted_wals = host2:/x", "walmgr_data"),
            ("no_such_key = 1", "no_such_key"),
            ("master_bin = %(nothing)s", "nothing"),
        ] {
            let text = format!("{MASTER}{line}\n");
            let error = parse(&text, Path::new("x.ini")).unwrap_err().to_string();
            assert!(error.contains(word), "{line}: {error}");
        }
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
