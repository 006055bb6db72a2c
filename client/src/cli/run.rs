//! `pgq run`: a service as an INI file describes it. One process, one job; systemd or `pgq
//! services` keeps it running.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgq_client::{Error, Stop, read_ini};
use rustix::process::Signal;

use super::pidfile::{self, Pidfile};
use super::service::{Job, Order};
use super::{Exit, Global, logging, notify, output, signals};

/// Run a service.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The INI file; its section names the service
    ini: PathBuf,
    /// Register the consumer, then end
    #[arg(long, group = "order")]
    register: bool,
    /// Unregister the consumer, then end
    #[arg(long, group = "order")]
    unregister: bool,
    /// Move the consumer back to where the target is, then end
    #[arg(long, group = "order")]
    rewind: bool,
    /// Forget where the target is, then end
    #[arg(long, group = "order")]
    reset: bool,
    /// Run in the background; needs pidfile and logfile
    #[arg(short = 'd', long, group = "order")]
    daemon: bool,
    /// Have the running process read its INI file again (SIGHUP)
    #[arg(short = 'r', long, group = "order")]
    reload: bool,
    /// Have the running process finish its batch and end (SIGINT)
    #[arg(short = 's', long, group = "order")]
    stop: bool,
    /// Have the running process end now (SIGTERM)
    #[arg(short = 'k', long, group = "order")]
    kill: bool,
    #[arg(long, hide = true)]
    daemonized: bool,
}

/// What is to be done with the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Serve,
    StartInBackground,
    Obey(Order),
    Send(Signal),
}

impl Run {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let job = read(&self.ini)?;
        match self.action() {
            Action::Send(signal) => send(&job, signal),
            Action::StartInBackground => self.start_in_background(&job, global),
            Action::Obey(order) => {
                output::line(&job.obey(order)?)?;
                Ok(Exit::Ok)
            }
            Action::Serve => {
                if self.daemonized {
                    // Fails only when we lead a session already, which is as good.
                    let _ = rustix::process::setsid();
                }
                self.serve(job, global)
            }
        }
    }

    /// At most one of the flags is given.
    fn action(&self) -> Action {
        let flags = [
            (self.register, Action::Obey(Order::Register)),
            (self.unregister, Action::Obey(Order::Unregister)),
            (self.rewind, Action::Obey(Order::Rewind)),
            (self.reset, Action::Obey(Order::Reset)),
            (self.daemon, Action::StartInBackground),
            (self.reload, Action::Send(Signal::HUP)),
            (self.stop, Action::Send(Signal::INT)),
            (self.kill, Action::Send(Signal::TERM)),
        ];
        let given = flags.into_iter().find(|(is_given, _)| *is_given);
        given.map_or(Action::Serve, |(_, action)| action)
    }

    fn serve(&self, mut job: Job, global: &Global) -> anyhow::Result<Exit> {
        let _pidfile = job.pidfile().map(Pidfile::create).transpose()?;
        loop {
            logging::as_service(&job.log_targets(self.daemonized), global.verbose, global.quiet)?;
            let stop = Stop::new();
            let asked = signals::handle(&stop, true)?;
            notify::ready();
            log::info!("{}: service {} starts", job.name(), job.service());
            let result = job.serve(&stop);
            if asked.take_reload() {
                log::info!("{}: reading {} again", job.name(), self.ini.display());
                match read(&self.ini) {
                    Ok(new) => job = new,
                    // A mistake in the file is no reason to end a running service.
                    Err(error) => log::error!("{}: {error}; going on as before", job.name()),
                }
                continue;
            }
            notify::stopping();
            if let Err(error) = &result {
                log::error!("{}: {error}", job.name());
                return Ok(super::code_of(
                    &result.err().map_or_else(|| anyhow::anyhow!("failed"), Into::into),
                ));
            }
            log::info!("{}: stopped", job.name());
            return Ok(Exit::Ok);
        }
    }

    fn start_in_background(&self, job: &Job, global: &Global) -> anyhow::Result<Exit> {
        let (Some(pidfile), Some(_)) = (job.pidfile(), job.logfile()) else {
            return Err(Error::Config(format!(
                "{}: running in the background needs pidfile and logfile",
                self.ini.display()
            ))
            .into());
        };
        if let Some(named) = pidfile::running(pidfile)? {
            anyhow::bail!("{}: runs already, with pid {}", job.name(), named.pid);
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").arg("--daemonized").arg(&self.ini);
        for _ in 0..global.verbose {
            command.arg("-v");
        }
        if global.quiet {
            command.arg("-q");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Exit::Ok)
    }
}

fn read(path: &Path) -> Result<Job, Error> {
    Job::read(&read_ini(path)?)
}

/// Signal the process of the job's pid file. That there is none is said, but is no failure, as ever
/// in SkyTools.
fn send(job: &Job, signal: Signal) -> anyhow::Result<Exit> {
    let Some(path) = job.pidfile() else {
        return Err(Error::Config(format!("{}: no pidfile configured", job.name())).into());
    };
    if !pidfile::signal(path, signal, false)? {
        log::warn!("{}: not running", job.name());
    }
    Ok(Exit::Ok)
}
