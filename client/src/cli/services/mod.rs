//! `pgq services`: start and stop jobs by their INI files, as SkyTools' scriptmgr does. Jobs that
//! are services of systemd are started and stopped by systemd, so that nothing runs twice.

mod job;
mod kind;
mod registry;
mod systemd;
mod units;

use std::path::PathBuf;

use clap::ValueEnum;
use pgq_client::Error;

use super::output::{Format, complain};
use super::{Exit, Global};
use job::Job;

pub(super) use units::Units;

/// Start and stop services.
#[derive(Debug, clap::Args)]
pub(super) struct Services {
    /// The registry: section [scriptmgr] with config_list, and a section per kind of service
    ini: PathBuf,
    /// What to do
    #[arg(value_enum)]
    command: Order,
    /// Names of jobs
    #[arg(required_unless_present_any = ["all", "service"])]
    jobs: Vec<String>,
    /// All jobs
    #[arg(long, short = 'a', conflicts_with = "jobs")]
    all: bool,
    /// All jobs of this kind of service
    #[arg(long = "type", short = 't', value_name = "SERVICE", conflicts_with_all = ["jobs", "all"])]
    service: Option<String>,
    /// After stop, wait until the processes have ended
    #[arg(long, short = 'w')]
    wait: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    Start,
    Stop,
    Restart,
    Reload,
    Status,
    Info,
}

impl Services {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let format = global.format();
        let found = registry::read(&self.ini)?;
        // A file that cannot be read may be one of those meant.
        let mut exit =
            if found.broken.is_empty() || !self.jobs.is_empty() { Exit::Ok } else { Exit::Usage };
        for (_, error) in found.broken {
            complain(&error.into());
        }
        for name in &self.jobs {
            if !found.jobs.iter().any(|job| job.name == *name) {
                return Err(
                    Error::Config(format!("no job \"{name}\" in {}", self.ini.display())).into()
                );
            }
        }
        for job in found.jobs.iter().filter(|job| self.chooses(job)) {
            match self.obey(job, format) {
                Ok(true) => {}
                Ok(false) => exit = Exit::Failed,
                Err(error) => {
                    complain(&error);
                    exit = Exit::Failed;
                }
            }
        }
        Ok(exit)
    }

    fn chooses(&self, job: &Job) -> bool {
        match &self.service {
            Some(service) => job.kind.name == *service,
            None => self.all || self.jobs.contains(&job.name),
        }
    }

    /// False when a job is stopped that should run.
    fn obey(&self, job: &Job, format: Format) -> anyhow::Result<bool> {
        match self.command {
            Order::Status => return job.status(format),
            Order::Info => job.info(format)?,
            Order::Start => job.start()?,
            Order::Stop => job.stop(self.wait)?,
            Order::Reload => job.reload()?,
            Order::Restart => job.restart()?,
        }
        Ok(true)
    }
}
