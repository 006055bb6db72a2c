//! `pgq ticker`.

use std::path::PathBuf;

use pgq_client::{Conninfo, Error, Stop, Ticker, TickerConfig};

use super::logging::{SyslogTarget, Targets};
use super::{Exit, Global, logging, signals};

/// Tick from outside.
#[derive(Debug, clap::Args)]
pub(super) struct TickerCommand {
    /// A pgqd.ini; without it, the database of --dsn is driven with pgqd's defaults
    config: Option<PathBuf>,
}

impl TickerCommand {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        loop {
            let config = match &self.config {
                Some(path) => TickerConfig::read(path)?,
                None => single_database(global)?,
            };
            let mut targets = log_targets(&config);
            targets.stderr = !global.quiet;
            logging::as_service(&targets, global.verbose, false)?;
            let _pidfile = match &config.pidfile {
                Some(path) => Some(super::pidfile::Pidfile::create(path)?),
                None => None,
            };
            let ticker = Ticker::new(config)?;
            let stop = Stop::new();
            let asked = signals::handle(&stop, self.config.is_some())?;
            super::notify::ready();
            log::info!("starting pgq ticker {}", env!("CARGO_PKG_VERSION"));
            ticker.run(&stop);
            if !asked.take_reload() {
                log::info!("stopped");
                return Ok(Exit::Ok);
            }
            log::info!("reading the configuration again");
        }
    }
}

/// Log file and syslog, as the configuration has them.
pub(super) fn log_targets(config: &TickerConfig) -> Targets {
    let syslog = config.syslog_ident.iter().map(|ident| SyslogTarget {
        ident: ident.clone(),
        facility: config.syslog_facility.clone(),
        address: None,
    });
    Targets {
        files: config.logfile.iter().cloned().collect(),
        syslog: syslog.collect(),
        ..Targets::default()
    }
}

fn single_database(global: &Global) -> anyhow::Result<TickerConfig> {
    let conninfo = Conninfo::with_environment(&global.dsn).map_err(Error::from)?;
    let database = conninfo.get("dbname").or_else(|| conninfo.get("user"));
    let user = std::env::var("USER").ok();
    let database = database.map(str::to_owned).or(user).unwrap_or_else(|| "postgres".to_owned());
    // Fail now, with a code, when there is no way to get in.
    global.connect()?;
    Ok(TickerConfig {
        base_connstr: global.dsn.clone(),
        databases: vec![database],
        ..TickerConfig::default()
    })
}
