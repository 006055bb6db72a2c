//! The ticker for a server without a worker: ticks, retries and maintenance from outside, for one
//! server's databases, as pgqd does. It may run beside the server's worker or another ticker on PgQ
//! 4; on PgQ 3.5 there must be only one.

mod config;
mod database;
mod facility;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgq_connect::Conninfo;

use crate::connector::Connector;
use crate::error::Error;
use crate::outage::Outage;
use crate::stop::Stop;

pub use config::TickerConfig;
pub use facility::SyslogFacility;

/// Drives all databases of a server. Made from a [`TickerConfig`].
#[derive(Debug)]
pub struct Ticker {
    config: TickerConfig,
    base: Conninfo,
    counters: Arc<Counters>,
}

/// Work done since the last line of statistics.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    ticks: AtomicU64,
    maint: AtomicU64,
    retry: AtomicU64,
}

struct Driver {
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// Check the connection string. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn new(config: TickerConfig) -> Result<Self, Error> {
        let base = Conninfo::with_environment(&config.base_connstr)?;
        Connector::from_conninfo(&base)?;
        Ok(Self { config, base, counters: Arc::default() })
    }

    /// Run until stopped. Servers and databases that are not there are waited for.
    pub fn run(&self, stop: &Stop) {
        let mut drivers: BTreeMap<String, Driver> = BTreeMap::new();
        let mut outage = Outage::new("ticker".to_owned());
        let mut next_stats = Instant::now() + self.config.stats_period;
        let mut next_check = Instant::now();
        while !stop.is_requested() {
            if Instant::now() >= next_check {
                let pause = match self.databases() {
                    Ok(databases) => {
                        outage.over();
                        self.follow(&mut drivers, &databases);
                        self.config.check_period
                    }
                    Err(error) => outage.pause(&error).min(self.config.check_period),
                };
                next_check = Instant::now() + pause;
            }
            if Instant::now() >= next_stats {
                self.log_stats();
                next_stats += self.config.stats_period.max(Duration::from_secs(1));
            }
            let wake = next_check.min(next_stats);
            stop.sleep(
                wake.saturating_duration_since(Instant::now()).max(Duration::from_millis(10)),
            );
        }
        for (_, driver) in drivers {
            end(driver);
        }
        self.log_stats();
    }

    fn log_stats(&self) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let Counters { ticks, maint, retry } = &*self.counters;
        log::info!("{{ticks: {}, maint: {}, retry: {}}}", take(ticks), take(maint), take(retry));
    }

    /// The databases to drive now.
    fn databases(&self) -> Result<Vec<String>, Error> {
        if !self.config.databases.is_empty() {
            return Ok(self.config.databases.clone());
        }
        let conninfo = self.base.clone().database(&self.config.initial_database);
        let mut client = Connector::from_conninfo(&conninfo)?.connect()?;
        let rows = client.query_typed(
            "select datname::pg_catalog.text
               from pg_catalog.pg_database
              where datallowconn
                and not datistemplate",
            &[],
        )?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Start drivers for new databases, end those of vanished ones.
    fn follow(&self, drivers: &mut BTreeMap<String, Driver>, databases: &[String]) {
        let gone: Vec<_> =
            drivers.keys().filter(|name| !databases.contains(name)).cloned().collect();
        for name in gone {
            log::info!("[{name}]: database is gone");
            drivers.remove(&name).into_iter().for_each(end);
        }
        for name in databases {
            if drivers.contains_key(name) {
                continue;
            }
            let connector = match Connector::from_conninfo(&self.base.clone().database(name)) {
                Ok(connector) => connector.application_name("pgq ticker"),
                Err(error) => {
                    log::error!("[{name}]: {error}");
                    continue;
                }
            };
            let stop = Stop::new();
            let database = database::Database {
                name: name.clone(),
                connector,
                config: self.config.clone(),
                counters: Arc::clone(&self.counters),
                stop: stop.clone(),
            };
            let thread = std::thread::spawn(move || database.run());
            drivers.insert(name.clone(), Driver { stop, thread });
        }
    }
}

fn end(driver: Driver) {
    driver.stop.now();
    if driver.thread.join().is_err() {
        log::error!("a ticker thread panicked");
    }
}
