//! `pgqd.ini`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgq_connect::redact;
use pgq_ini::Section;

use super::facility::SyslogFacility;
use crate::error::Error;
use crate::ini::read_ini;

/// What an existing `pgqd.ini` says. Also made by hand, for one database.
#[derive(Clone, PartialEq, Eq)]
pub struct TickerConfig {
    /// Connection string without a database.
    pub base_connstr: String,
    /// Where databases are looked up when no list is given.
    pub initial_database: String,
    /// The databases to drive; empty: all that have PgQ.
    pub databases: Vec<String>,
    /// Between looks for new databases.
    pub check_period: Duration,
    /// Between rounds of rotation and other maintenance.
    pub maint_period: Duration,
    /// Between looks at the retry queue.
    pub retry_period: Duration,
    /// Between ticks.
    pub ticker_period: Duration,
    /// Between lines of statistics.
    pub stats_period: Duration,
    /// Log file.
    pub logfile: Option<PathBuf>,
    /// Pid file.
    pub pidfile: Option<PathBuf>,
    /// Log to syslog too, under this name.
    pub syslog_ident: Option<String>,
    /// syslog's facility.
    pub syslog_facility: SyslogFacility,
}

impl fmt::Debug for TickerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TickerConfig")
            .field("base_connstr", &redact(&self.base_connstr))
            .field("databases", &self.databases)
            .finish_non_exhaustive()
    }
}

impl Default for TickerConfig {
    fn default() -> Self {
        Self {
            base_connstr: String::new(),
            initial_database: "template1".to_owned(),
            databases: Vec::new(),
            check_period: Duration::from_secs(60),
            maint_period: Duration::from_secs(120),
            retry_period: Duration::from_secs(30),
            ticker_period: Duration::from_secs(1),
            stats_period: Duration::from_secs(30),
            logfile: None,
            pidfile: None,
            syslog_ident: None,
            syslog_facility: SyslogFacility::Daemon,
        }
    }
}

impl TickerConfig {
    /// Read a file in pgqd's format: section `[pgqd]`, pgqd's keys and defaults.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for bad syntax, an unknown key, or a period that is no
    /// number.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let ini = read_ini(path)?;
        let mut section = ini.section("pgqd")?;
        let config = Self::of_section(&mut section)?;
        section.end()?;
        Ok(config)
    }

    /// What a section of pgqd's says; its keys are taken.
    ///
    /// # Errors
    /// As [`TickerConfig::read`].
    pub fn of_section(section: &mut Section<'_>) -> Result<Self, Error> {
        let default = Self::default();
        let facility = match section.take("syslog_facility")? {
            None => default.syslog_facility,
            Some(name) => SyslogFacility::of_name(&name).ok_or_else(|| {
                let known = SyslogFacility::NAMES.map(|(name, _)| name).join(", ");
                section.wrong("syslog_facility", format!("\"{name}\" is none of {known}"))
            })?,
        };
        let uses_syslog = section.boolean("syslog")?.unwrap_or(true);
        let ident = section.take("syslog_ident")?.unwrap_or_else(|| "pgqd".to_owned());
        let mut period = |key: &str, default: Duration| -> Result<Duration, Error> {
            Ok(section.seconds(key)?.unwrap_or(default))
        };
        let config = Self {
            check_period: period("check_period", default.check_period)?,
            maint_period: period("maint_period", default.maint_period)?,
            retry_period: period("retry_period", default.retry_period)?,
            ticker_period: period("ticker_period", default.ticker_period)?,
            stats_period: period("stats_period", default.stats_period)?,
            // pgqd knows no "%(name)s", and passwords may have a percent sign.
            base_connstr: section.literal("base_connstr").unwrap_or_default(),
            initial_database: section.take("initial_database")?.unwrap_or(default.initial_database),
            databases: section.list("database_list")?,
            logfile: section.file("logfile")?,
            pidfile: section.file("pidfile")?,
            syslog_ident: uses_syslog.then_some(ident),
            syslog_facility: facility,
        };
        section.ignore("connection_lifetime");
        // For whoever starts services.
        section.boolean("disabled")?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::{SyslogFacility, TickerConfig};

    fn read(text: &str) -> Result<TickerConfig, crate::error::Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        TickerConfig::read(file.path())
    }

    #[test]
    fn pgqd_defaults_and_values() {
        let config = read(
            "[pgqd]\nbase_connstr = host=a password=50%\ndatabase_list = a, b\nticker_period = 0.1\nsyslog = 0\n",
        )
        .unwrap();
        assert_eq!(config.base_connstr, "host=a password=50%");
        assert!(!format!("{config:?}").contains("50%"));
        assert_eq!(config.databases, ["a", "b"]);
        assert_eq!(config.ticker_period.as_millis(), 100);
        assert_eq!(config.maint_period.as_secs(), 120);
        assert_eq!(config.syslog_ident, None);
        assert_eq!(config.syslog_facility, SyslogFacility::Daemon);
        let config = read("[pgqd]\nsyslog_facility = local3\n").unwrap();
        assert_eq!(config.syslog_facility, SyslogFacility::Local3);
    }

    #[test]
    fn misspelt_key_is_refused() {
        let error = read("[pgqd]\nsyslog_facility = kitchen\n").unwrap_err().to_string();
        assert!(error.contains("\"kitchen\" is none of auth, "), "{error}");
        let error = read("[pgqd]\ntiker_period = 1\n").unwrap_err().to_string();
        assert!(error.ends_with("[pgqd] tiker_period: unknown key"), "{error}");
    }
}
