//! Services by INI file: what all of them share. Each kind is in a file of its own.

mod consumer;
mod loader;
mod mover;
mod settings;
mod simple;
mod splitter;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use pgq_client::{Backoff, Error, RemoteConsumer, Stop, Ticker, TickerConfig};
use pgq_ini::{Ini, Section};

use super::logging::Targets;
use settings::Settings;

/// A job: one service with its settings.
#[derive(Debug)]
pub(super) struct Job {
    settings: Settings,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Consumer(consumer::Consumer),
    Loader(loader::Loader),
    Mover(mover::Mover),
    Simple(simple::Simple),
    Splitter(splitter::Splitter),
    Ticker(TickerConfig),
}

/// What to do instead of serving.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orders {
    pub(super) register: bool,
    pub(super) unregister: bool,
    pub(super) rewind: bool,
    pub(super) reset: bool,
}

impl Orders {
    pub(super) fn any(self) -> bool {
        self.register || self.unregister || self.rewind || self.reset
    }
}

/// Section names and what they stand for; SkyTools' own, with and without the 3.
pub(super) const SERVICES: [&str; 13] = [
    "pgq_consumer",
    "queue_loader",
    "queue_loader3",
    "queue_mover",
    "queue_mover3",
    "queue_splitter",
    "queue_splitter3",
    "simple_consumer",
    "simple_consumer3",
    "simple_local_consumer",
    "simple_local_consumer3",
    "pgqd",
    "pgq_ticker",
];

impl Job {
    /// Read the first section that is a service.
    pub(super) fn read(ini: &Ini) -> Result<Self, Error> {
        let name = ini.section_names().find(|name| SERVICES.contains(name));
        let Some(name) = name else {
            return Err(Error::Config(format!(
                "{}: no section is a service; there are {}",
                ini.path().display(),
                SERVICES.join(", ")
            )));
        };
        let mut section = ini.section(name)?;
        if name == "pgqd" {
            let config = TickerConfig::of_ini(ini)?;
            let settings = Settings::of_ticker(&mut section, &config)?;
            return Ok(Self { settings, kind: Kind::Ticker(config) });
        }
        let mut settings = Settings::read(&mut section)?;
        let kind = match name.trim_end_matches('3') {
            "queue_mover" => Kind::Mover(mover::Mover::read(&mut section)?),
            "queue_splitter" => Kind::Splitter(splitter::Splitter::read(&mut section)?),
            "queue_loader" => Kind::Loader(loader::Loader::read(&mut section)?),
            "simple_consumer" => {
                settings.read_member(&mut section)?;
                Kind::Simple(simple::Simple::read(&mut section)?)
            }
            "simple_local_consumer" => {
                settings.read_position(&mut section)?;
                Kind::Simple(simple::Simple::read_local(&mut section)?)
            }
            "pgq_consumer" => {
                settings.read_member(&mut section)?;
                settings.read_position(&mut section)?;
                Kind::Consumer(consumer::Consumer::read(&mut section)?)
            }
            _ => return Err(Error::Config(format!("service {name} cannot be run"))),
        };
        section.end()?;
        Ok(Self { settings, kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.job_name
    }

    pub(super) fn service(&self) -> &str {
        &self.settings.service
    }

    pub(super) fn pidfile(&self) -> Option<&Path> {
        self.settings.pidfile.as_deref()
    }

    pub(super) fn logfile(&self) -> Option<&Path> {
        self.settings.logfile.as_deref()
    }

    /// Where to log to; not to standard error when nobody can see it.
    pub(super) fn log_targets(&self, daemonized: bool) -> Targets {
        let seen = !daemonized;
        let on_terminal = seen && std::io::stderr().is_terminal();
        let mut targets = match &self.kind {
            Kind::Ticker(config) => super::ticker::log_targets(config),
            _ => self.settings.log_targets(on_terminal),
        };
        targets.stderr = seen;
        targets
    }

    /// Serve until stopped. Servers that cannot be reached are waited for, also at the start.
    pub(super) fn serve(&self, stop: &Stop) -> Result<(), Error> {
        let backoff = Backoff::doubling(Duration::from_secs(1), self.settings.exception_sleep);
        let mut attempt = 0;
        loop {
            match self.try_serve(stop) {
                Err(error @ Error::Connect { .. }) if error.is_transient() => {
                    // A server that starts says so in several ways; it is one wait.
                    let level = if attempt == 0 { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: {error}; trying again", self.name());
                    attempt += 1;
                    if stop.sleep(backoff.delay(attempt)) {
                        return Ok(());
                    }
                }
                other => return other,
            }
        }
    }

    fn try_serve(&self, stop: &Stop) -> Result<(), Error> {
        let settings = &self.settings;
        match &self.kind {
            Kind::Consumer(consumer) => consumer.serve(settings, stop),
            Kind::Loader(loader) => loader.serve(settings, stop),
            Kind::Mover(mover) => mover.serve(settings, stop),
            Kind::Simple(simple) => simple.serve(settings, stop),
            Kind::Splitter(splitter) => splitter.serve(settings, stop),
            Kind::Ticker(config) => {
                Ticker::new(config.clone())?.run(stop);
                Ok(())
            }
        }
    }

    /// Do what is ordered; what was done.
    pub(super) fn obey(&self, orders: Orders) -> Result<String, Error> {
        let settings = &self.settings;
        let stop = Stop::new();
        match &self.kind {
            Kind::Ticker(_) => Err(Error::Config("a ticker has no position in a queue".to_owned())),
            Kind::Consumer(consumer) => settings.obey_plain(orders, consumer.database()),
            Kind::Simple(simple) => settings.obey_plain(orders, simple.database()),
            Kind::Loader(loader) => settings.obey_remote(orders, loader.connect(settings, &stop)?),
            Kind::Mover(mover) => settings.obey_remote(orders, mover.connect(settings, &stop)?),
            Kind::Splitter(splitter) => {
                settings.obey_remote(orders, splitter.connect(settings, &stop)?)
            }
        }
    }
}

/// Connection strings of a service that reads here and writes there.
#[derive(Clone, Debug)]
struct Route {
    source: String,
    target: String,
    dead: Option<String>,
}

impl Route {
    fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let dead = section.take("dead_letter_queue")?;
        Ok(Self { dead, ..Self::without_dead_letters(section)? })
    }

    fn without_dead_letters(section: &mut Section<'_>) -> Result<Self, Error> {
        Ok(Self {
            source: section.require("src_db")?,
            target: section.require("dst_db")?,
            dead: None,
        })
    }

    fn connect(&self, settings: &Settings, stop: &Stop) -> Result<RemoteConsumer, Error> {
        settings.connect_remote(&self.source, &self.target, self.dead.as_deref(), stop)
    }
}
