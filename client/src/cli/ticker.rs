//! `pgq ticker`.

use std::path::{Path, PathBuf};

use pgq_client::{Conninfo, Error, Stop, SyslogFacility, Ticker, TickerConfig};
use pgq_syslog::{Address, Facility};

use super::logging::{SyslogTarget, Targets};
use super::serving::{Level, Serve};
use super::{Exit, Global, serving, signals};

/// Tick from outside.
#[derive(Debug, clap::Args)]
pub(super) struct TickerCommand {
    /// A pgqd.ini; without it, the database of --dsn is driven with pgqd's defaults
    config: Option<PathBuf>,
}

impl TickerCommand {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let seen = !global.quiet;
        let level = Level { verbose: global.verbose, quiet: false };
        match &self.config {
            Some(path) => {
                let read = || Running::new(TickerConfig::read(path)?, seen);
                let service = read()?;
                serving::serve(service, read, &signals::of_service(true)?, level)
            }
            None => {
                let read = || Running::new(single_database(global)?, seen);
                let service = read()?;
                // Fail now, with a code, when there is no way to get in.
                global.connect()?;
                serving::serve(service, read, &signals::of_service(false)?, level)
            }
        }
    }
}

/// A ticker with its settings.
struct Running {
    ticker: Ticker,
    pidfile: Option<PathBuf>,
    targets: Targets,
}

impl Running {
    fn new(config: TickerConfig, seen: bool) -> Result<Self, Error> {
        let mut targets = log_targets(&config);
        targets.stderr = seen;
        let pidfile = config.pidfile.clone();
        Ok(Self { ticker: Ticker::new(config)?, pidfile, targets })
    }
}

impl Serve for Running {
    fn name(&self) -> &str {
        "ticker"
    }

    fn kind(&self) -> String {
        concat!("pgq ticker ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn pidfile(&self) -> Option<&Path> {
        self.pidfile.as_deref()
    }

    fn log_targets(&self) -> Targets {
        self.targets.clone()
    }

    fn serve(&self, stop: &Stop) -> Result<(), Error> {
        self.ticker.run(stop);
        Ok(())
    }
}

/// Log file and syslog, as the configuration has them.
pub(super) fn log_targets(config: &TickerConfig) -> Targets {
    let facility = facility(config.syslog_facility);
    let target =
        |ident: &String| SyslogTarget { ident: ident.clone(), facility, address: Address::Here };
    Targets {
        files: config.logfile.iter().cloned().collect(),
        syslog: config.syslog_ident.iter().map(target).collect(),
        ..Targets::default()
    }
}

fn facility(of_pgqd: SyslogFacility) -> Facility {
    match of_pgqd {
        SyslogFacility::Auth => Facility::Auth,
        SyslogFacility::Authpriv => Facility::Authpriv,
        SyslogFacility::Daemon => Facility::Daemon,
        SyslogFacility::User => Facility::User,
        SyslogFacility::Local0 => Facility::Local0,
        SyslogFacility::Local1 => Facility::Local1,
        SyslogFacility::Local2 => Facility::Local2,
        SyslogFacility::Local3 => Facility::Local3,
        SyslogFacility::Local4 => Facility::Local4,
        SyslogFacility::Local5 => Facility::Local5,
        SyslogFacility::Local6 => Facility::Local6,
        SyslogFacility::Local7 => Facility::Local7,
    }
}

fn single_database(global: &Global) -> Result<TickerConfig, Error> {
    let conninfo = Conninfo::with_environment(&global.dsn).map_err(Error::from)?;
    let database = conninfo.get("dbname").or_else(|| conninfo.get("user"));
    let user = std::env::var("USER").ok();
    let database = database.map(str::to_owned).or(user).unwrap_or_else(|| "postgres".to_owned());
    Ok(TickerConfig {
        base_connstr: global.dsn.clone(),
        databases: vec![database],
        ..TickerConfig::default()
    })
}
