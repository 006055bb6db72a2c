//! Services by INI file: which there are, and what all of them share. Each kind is in a file of its
//! own.

mod consumer;
mod intake;
mod loader;
mod londiste;
mod mover;
mod order;
mod plain;
mod process;
mod route;
mod simple;
mod splitter;

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use pgq_client::{Backoff, CascadeSettings, Connector, Error, Stop, Ticker, TickerConfig};
use pgq_ini::{Ini, Section};

use super::logging::Targets;
use plain::Plain;
use process::Process;
use route::Route;

pub(super) use londiste::Commands;
pub(super) use order::Order;

/// A job: one service with its settings.
#[derive(Debug)]
pub(super) struct Job {
    process: Process,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain(Plain, Effect),
    Remote(Route, Transfer),
    Cascade(londiste::Londiste),
    Ticker(TickerConfig),
}

/// What a plain consumer does with events.
#[derive(Debug)]
enum Effect {
    Handle(consumer::Handling),
    Query(simple::Simple),
}

/// What goes between two databases.
#[derive(Debug)]
enum Transfer {
    Load(loader::Loader),
    Move(mover::Mover),
    Split(splitter::Splitter),
}

/// A kind of service: the names of its section, SkyTools' own among them, and how it is read.
struct Service {
    names: &'static [&'static str],
    read: fn(&mut Section<'_>) -> Result<Job, Error>,
}

const SERVICES: [Service; 8] = [
    Service {
        names: &["pgq_consumer"],
        read: |section| {
            let plain = Plain::read(section, "db")?.or_member(section)?.or_local(section)?;
            let effect = Effect::Handle(consumer::Handling::read(section)?);
            Job::read_with(section, Kind::Plain(plain, effect))
        },
    },
    Service {
        names: &["queue_loader", "queue_loader3"],
        read: |section| {
            let route = Route::read(section)?.or_dead_letters(section)?;
            let transfer = Transfer::Load(loader::Loader::read(section)?);
            Job::read_with(section, Kind::Remote(route, transfer))
        },
    },
    Service {
        names: &["queue_mover", "queue_mover3"],
        read: |section| {
            let route = Route::read(section)?;
            let transfer = Transfer::Move(mover::Mover::read(section, &route)?);
            Job::read_with(section, Kind::Remote(route, transfer))
        },
    },
    Service {
        names: &["queue_splitter", "queue_splitter3"],
        read: |section| {
            let route = Route::read(section)?.or_dead_letters(section)?;
            let transfer = Transfer::Split(splitter::Splitter::read(section)?);
            Job::read_with(section, Kind::Remote(route, transfer))
        },
    },
    Service {
        names: &["simple_consumer", "simple_consumer3"],
        read: |section| {
            let plain = Plain::read(section, "src_db")?.or_member(section)?;
            let effect = Effect::Query(simple::Simple::read(section)?);
            Job::read_with(section, Kind::Plain(plain, effect))
        },
    },
    Service {
        names: &["simple_local_consumer", "simple_local_consumer3"],
        read: |section| {
            section.require("local_tracking_file")?;
            let plain = Plain::read(section, "src_db")?.or_local(section)?;
            let effect = Effect::Query(simple::Simple::read_local(section)?);
            Job::read_with(section, Kind::Plain(plain, effect))
        },
    },
    Service {
        names: &["londiste", "londiste3"],
        read: |section| {
            let londiste = londiste::Londiste::read(section)?;
            Job::read_with(section, Kind::Cascade(londiste))
        },
    },
    Service {
        names: &["pgqd"],
        read: |section| {
            let config = TickerConfig::of_section(section)?;
            let process = Process::of_ticker(section, &config)?;
            Ok(Job { process, kind: Kind::Ticker(config) })
        },
    },
];

fn find(name: &str) -> Option<&'static Service> {
    SERVICES.iter().find(|service| service.names.contains(&name))
}

/// True for the name of a service's section.
pub(super) fn is_service(name: &str) -> bool {
    find(name).is_some()
}

impl Job {
    /// Read the first section that is a service.
    pub(super) fn read(ini: &Ini) -> Result<Self, Error> {
        let found = ini.section_names().find_map(|name| Some((name, find(name)?)));
        let Some((name, service)) = found else {
            let names = SERVICES.iter().flat_map(|service| service.names);
            return Err(Error::Config(format!(
                "{}: no section is a service; there are {}",
                ini.path().display(),
                names.copied().collect::<Vec<_>>().join(", ")
            )));
        };
        let mut section = ini.section(name)?;
        let job = (service.read)(&mut section)?;
        section.end()?;
        Ok(job)
    }

    fn read_with(section: &mut Section<'_>, kind: Kind) -> Result<Self, Error> {
        Ok(Self { process: Process::read(section)?, kind })
    }

    /// The node of a cascade that it works for, if any, and what commands for it are told.
    pub(super) fn cascade(&self) -> Option<(&CascadeSettings, &Commands)> {
        match &self.kind {
            Kind::Cascade(londiste) => Some((londiste.settings(), londiste.commands())),
            _ => None,
        }
    }

    /// Go on with what outlives a reading of the settings, where both are workers of a node.
    pub(super) fn take_over(&mut self, other: &Self) {
        if let (Kind::Cascade(new), Kind::Cascade(old)) = (&mut self.kind, &other.kind) {
            new.take_over(old);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.process.job
    }

    pub(super) fn service(&self) -> &str {
        &self.process.service
    }

    pub(super) fn pidfile(&self) -> Option<&Path> {
        self.process.pidfile.as_deref()
    }

    pub(super) fn logfile(&self) -> Option<&Path> {
        self.process.logfile.as_deref()
    }

    /// Where to log to; not to standard error when nobody can see it.
    pub(super) fn log_targets(&self, daemonized: bool) -> Targets {
        let seen = !daemonized;
        let on_terminal = seen && std::io::stderr().is_terminal();
        Targets { stderr: seen, ..self.process.log_targets(on_terminal) }
    }

    /// What only serving would tell: a connection string that cannot be used.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Plain(plain, effect) => {
                Connector::new(&plain.database)?;
                match effect {
                    Effect::Handle(_) => Ok(()),
                    Effect::Query(simple) => simple.check(),
                }
            }
            Kind::Remote(route, _) => route.check(),
            // Its string was read with the file.
            Kind::Cascade(_) => Ok(()),
            Kind::Ticker(config) => Ticker::new(config.clone()).map(drop),
        }
    }

    /// Serve until stopped. Servers that cannot be reached are waited for, also at the start.
    pub(super) fn serve(&self, stop: &Stop) -> Result<(), Error> {
        let backoff = Backoff::doubling(Duration::from_secs(1), self.process.exception_sleep);
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
        match &self.kind {
            Kind::Plain(plain, Effect::Handle(handling)) => handling.serve(plain, stop),
            Kind::Plain(plain, Effect::Query(simple)) => simple.serve(plain, stop),
            Kind::Remote(route, transfer) => {
                let consumer = route.connect(stop)?;
                match transfer {
                    Transfer::Load(loader) => loader.serve(consumer),
                    Transfer::Move(mover) => mover.serve(consumer),
                    Transfer::Split(splitter) => splitter.serve(consumer),
                }
            }
            Kind::Cascade(londiste) => {
                londiste.serve(stop);
                Ok(())
            }
            Kind::Ticker(config) => {
                Ticker::new(config.clone())?.run(stop);
                Ok(())
            }
        }
    }

    /// Do what is ordered; what was done.
    pub(super) fn obey(&self, order: Order) -> Result<String, Error> {
        match &self.kind {
            Kind::Plain(plain, _) => plain.obey(order),
            Kind::Remote(route, _) => route.obey(order),
            Kind::Cascade(londiste) => Err(londiste.obey(order)),
            Kind::Ticker(_) => Err(Error::Config("a ticker has no position in a queue".to_owned())),
        }
    }
}
