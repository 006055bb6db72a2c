//! Keys about the process: its name, its files, its log.

use std::path::PathBuf;
use std::time::Duration;

use pgq_client::{Error, TickerConfig};
use pgq_ini::Section;

use crate::cli::logging::Targets;
use crate::cli::{skylog, ticker};

/// Keys of SkyTools' scripts without an effect here.
const IGNORED: [&str; 12] = [
    "connection_lifetime",
    "exception_grace",
    "exception_quiet",
    "exception_reset",
    "log_count",
    "log_size",
    "logdatefmt_console",
    "logdatefmt_file",
    "logfmt_console",
    "logfmt_console_verbose",
    "logfmt_file",
    "logfmt_file_verbose",
];

/// How a job runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) job: String,
    pub(super) service: String,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) logfile: Option<PathBuf>,
    /// Longest pause between attempts to connect.
    pub(super) exception_sleep: Duration,
    targets: Targets,
    skylog: Option<Skylog>,
}

/// What `use_skylog` asks for.
#[derive(Debug)]
struct Skylog {
    targets: Targets,
    /// Also when somebody watches the service on a terminal.
    always: bool,
}

impl Skylog {
    fn read(section: &mut Section<'_>, job: &str) -> Result<Option<Self>, Error> {
        let level: i32 = section.number("use_skylog")?.unwrap_or(0);
        let locations = section.list("skylog_locations")?;
        if level <= 0 {
            return Ok(None);
        }
        let targets = skylog::targets(&locations, job, section.name())?;
        Ok(Some(Self { targets, always: level > 1 }))
    }
}

/// Longest pause between attempts to connect, where nothing is said about it.
const EXCEPTION_SLEEP: Duration = Duration::from_secs(20);

impl Process {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, Error> {
        let job = section.require("job_name")?;
        let logfile = section.file("logfile")?;
        for key in IGNORED {
            section.ignore(key);
        }
        // For whoever starts jobs, by hand or not: a mistake in it is one everywhere.
        section.boolean("disabled")?;
        Ok(Self {
            service: section.name().to_owned(),
            pidfile: section.file("pidfile")?,
            targets: Targets { files: logfile.iter().cloned().collect(), ..Targets::default() },
            logfile,
            exception_sleep: section.seconds("exception_sleep")?.unwrap_or(EXCEPTION_SLEEP),
            skylog: Skylog::read(section, &job)?,
            job,
        })
    }

    /// pgqd has keys of its own.
    pub(super) fn of_ticker(
        section: &mut Section<'_>,
        config: &TickerConfig,
    ) -> Result<Self, Error> {
        Ok(Self {
            job: section.require("job_name")?,
            service: section.name().to_owned(),
            pidfile: config.pidfile.clone(),
            logfile: config.logfile.clone(),
            exception_sleep: EXCEPTION_SLEEP,
            targets: ticker::log_targets(config),
            skylog: None,
        })
    }

    /// The log file, and what `use_skylog` adds.
    pub(super) fn log_targets(&self, on_terminal: bool) -> Targets {
        let mut targets = self.targets.clone();
        if let Some(skylog) = &self.skylog
            && (skylog.always || !on_terminal)
        {
            targets.add(skylog.targets.clone());
        }
        targets
    }
}
