//! `pgq run`: a service as an INI file describes it. One process, one job; systemd or `pgq
//! services` keeps it running.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgq_client::{Error, Stop, read_ini};
use rustix::process::Signal;

use super::logging::Targets;
use super::service::{Job, Order};
use super::serving::{Level, Serve};
use super::{Exit, Global, output, pidfile, serving, signals};

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

/// The process that runs a worker.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Process {
    /// Run in the background; needs pidfile and logfile
    #[arg(short = 'd', long, global = true, group = "order")]
    daemon: bool,
    /// Have the running process read its INI file again (SIGHUP)
    #[arg(short = 'r', long, global = true, group = "order")]
    reload: bool,
    /// Have the running process finish its batch and end (SIGINT)
    #[arg(short = 's', long, global = true, group = "order")]
    stop: bool,
    /// Have the running process end now (SIGTERM)
    #[arg(short = 'k', long, global = true, group = "order")]
    kill: bool,
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
    /// The worker of a cascade's node.
    pub(super) fn worker(ini: PathBuf, process: Process) -> Self {
        let Process { daemon, reload, stop, kill } = process;
        let (register, unregister, rewind, reset, daemonized) = (false, false, false, false, false);
        Self { ini, register, unregister, rewind, reset, daemon, reload, stop, kill, daemonized }
    }

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

    fn serve(&self, job: Job, global: &Global) -> anyhow::Result<Exit> {
        // Before the pid file is there: who sees it may send a signal.
        let asked = signals::of_service(true)?;
        let seen = !self.daemonized;
        let read = || {
            let job = read(&self.ini)?;
            job.check()?;
            Ok(Running { job, seen })
        };
        let level = Level { verbose: global.verbose, quiet: global.quiet };
        serving::serve(Running { job, seen }, read, &asked, level)
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

/// A job, and whether somebody may see its standard error.
struct Running {
    job: Job,
    seen: bool,
}

impl Serve for Running {
    fn name(&self) -> &str {
        self.job.name()
    }

    fn kind(&self) -> String {
        format!("service {}", self.job.service())
    }

    fn pidfile(&self) -> Option<&Path> {
        self.job.pidfile()
    }

    fn log_targets(&self) -> Targets {
        self.job.log_targets(!self.seen)
    }

    fn serve(&self, stop: &Stop) -> Result<(), Error> {
        self.job.serve(stop)
    }

    fn take_over(&mut self, other: &Self) {
        self.job.take_over(&other.job);
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
