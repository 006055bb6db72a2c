//! One database: tick, move retries, run maintenance, each at its own pace, on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgq_replica::name;
use postgres::Client;
use postgres::types::Type;

use super::{Counters, TickerConfig};
use crate::connector::Connector;
use crate::error::Error;
use crate::features::Features;
use crate::outage::Outage;
use crate::stop::Stop;

pub(super) struct Database {
    pub(super) name: String,
    pub(super) connector: Connector,
    pub(super) config: TickerConfig,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: Stop,
}

impl Database {
    pub(super) fn run(&self) {
        let mut outage = Outage::new(format!("[{}]", self.name));
        while !self.stop.is_requested() {
            let pause = match self.drive(&mut outage) {
                Ok(pause) => pause,
                // Nothing is final for a daemon: rights and extensions may be added while it runs.
                Err(error) => outage.pause(&error),
            };
            self.stop.sleep(pause);
        }
    }

    /// Drive the database over one connection; how long to leave it alone when it has no queues.
    fn drive(&self, outage: &mut Outage) -> Result<Duration, Error> {
        let mut client = self.connector.connect()?;
        let Some(version) = pgq_version(&mut client)? else { return Ok(self.config.check_period) };
        log::info!("[{}]: pgq version ok: {version}", self.name);
        let begin = Instant::now();
        let mut next_retry = begin;
        let mut next_maint = begin;
        while !self.stop.is_requested() {
            client.query_typed("select pgq.ticker()", &[])?;
            count(&self.counters.ticks, 1);
            if Instant::now() >= next_retry {
                self.retry(&mut client)?;
                next_retry = Instant::now() + self.config.retry_period;
            }
            if Instant::now() >= next_maint {
                self.maintain(&mut client)?;
                next_maint = Instant::now() + self.config.maint_period;
            }
            outage.over();
            self.stop.sleep(self.config.ticker_period.max(Duration::from_millis(1)));
        }
        Ok(Duration::ZERO)
    }

    fn retry(&self, client: &mut Client) -> Result<(), Error> {
        loop {
            let row = client.query_typed_one("select pgq.maint_retry_events()", &[])?;
            let moved: i32 = row.try_get(0)?;
            let moved = u64::try_from(moved)
                .map_err(|_| Error::Answer(format!("{moved} events moved for a retry")))?;
            count(&self.counters.retry, moved);
            if moved == 0 || self.stop.is_requested() {
                return Ok(());
            }
        }
    }

    /// Run each listed operation until it asks for no more. One that fails does not keep the others
    /// from running.
    fn maintain(&self, client: &mut Client) -> Result<(), Error> {
        let operations =
            client.query_typed("select func_name, func_arg from pgq.maint_operations()", &[])?;
        for operation in &operations {
            let function: String = operation.try_get(0)?;
            let argument: Option<String> = operation.try_get(1)?;
            loop {
                match run_operation(client, &function, argument.as_deref()) {
                    Ok(true) if !self.stop.is_requested() => {}
                    Ok(_) => break,
                    Err(error) if error.needs_reconnect() => return Err(error),
                    Err(error) => {
                        let argument = argument.as_deref().unwrap_or("");
                        log::warn!("[{}]: {function} {argument}: {error}", self.name);
                        break;
                    }
                }
            }
        }
        count(&self.counters.maint, 1);
        Ok(())
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Version of PgQ in this database; none when it has none that this ticker drives.
fn pgq_version(client: &mut Client) -> Result<Option<String>, Error> {
    if !Features::has_pgq(client)? {
        return Ok(None);
    }
    let row = client.query_typed_one("select pgq.version()", &[])?;
    let version: Option<String> = row.try_get(0)?;
    Ok(version.filter(|version| version.as_bytes().first().is_some_and(|digit| *digit >= b'3')))
}

/// True when the operation wants to be called again.
fn run_operation(
    client: &mut Client,
    function: &str,
    argument: Option<&str>,
) -> Result<bool, Error> {
    if let (true, Some(table)) = (function.to_lowercase().starts_with("vacuum"), argument) {
        let analyze = if function.to_lowercase().contains("analyze") { "analyze " } else { "" };
        client.batch_execute(&format!("vacuum {analyze}{}", name::quoted(table)))?;
        return Ok(false);
    }
    let call = format!("select {}", name::quoted(function));
    let row = match argument {
        Some(argument) => {
            client.query_typed_one(&format!("{call}($1)"), &[(&argument, Type::TEXT)])?
        }
        None => client.query_typed_one(&format!("{call}()"), &[])?,
    };
    Ok(row.try_get::<_, Option<i32>>(0)?.unwrap_or(0) != 0)
}
