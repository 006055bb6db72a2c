//! `pgq services`: start and stop jobs by their INI files, as SkyTools' scriptmgr does.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pgq_client::{Error, Ini, Stop};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::output::{Format, complain, done, line};
use super::patterns::expand;
use super::service::SERVICES;
use super::{Exit, Global, pidfile};

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

/// A job found in an INI file.
#[derive(Debug)]
struct Job {
    name: String,
    service: String,
    ini: PathBuf,
    pidfile: Option<PathBuf>,
    disabled: bool,
    script: Option<String>,
    cwd: Option<PathBuf>,
    args: String,
    user: Option<String>,
}

/// How long a process may take to end, when we wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Services {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Exit> {
        let format = global.format();
        let jobs = find_jobs(&Ini::read(&self.ini)?)?;
        let chosen: Vec<&Job> = jobs.iter().filter(|job| self.chooses(job)).collect();
        for name in &self.jobs {
            if !jobs.iter().any(|job| job.name == *name) {
                return Err(
                    Error::Config(format!("no job \"{name}\" in {}", self.ini.display())).into()
                );
            }
        }
        let mut exit = Exit::Ok;
        for job in chosen {
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
            Some(service) => job.service == *service,
            None => self.all || self.jobs.contains(&job.name),
        }
    }

    /// False when a job is stopped that should run.
    fn obey(&self, job: &Job, format: Format) -> anyhow::Result<bool> {
        match self.command {
            Order::Status => return job.status(format),
            Order::Info => job.info(format)?,
            Order::Start => job.start()?,
            Order::Stop => {
                job.signal(Signal::INT)?;
                if self.wait {
                    job.wait()?;
                }
            }
            Order::Reload => {
                job.signal(Signal::HUP)?;
            }
            Order::Restart => {
                if job.signal(Signal::INT)? {
                    job.wait()?;
                }
                job.start()?;
            }
        }
        Ok(true)
    }
}

impl Job {
    /// The process of the job: one that holds the pid file, unless the job is a program that knows
    /// nothing of that.
    fn pid(&self) -> Result<Option<rustix::process::Pid>, Error> {
        let named = self.pidfile.as_deref().map_or(Ok(None), pidfile::running)?;
        let named = named.filter(|named| named.proven || self.is_foreign());
        Ok(named.map(|named| named.pid))
    }

    fn is_foreign(&self) -> bool {
        self.script.is_some()
    }

    fn status(&self, format: Format) -> anyhow::Result<bool> {
        let running = self.pid()?.is_some();
        let state = match (&self.pidfile, running) {
            (None, _) => "pidfile?",
            (_, true) => "OK",
            (_, false) => "STOPPED",
        };
        let disabled = if self.disabled { " (disabled)" } else { "" };
        done(
            format,
            &format!(" {state:8} [{}] {}{disabled}", self.service, self.name),
            &[
                ("service", json!(self.service)),
                ("job", json!(self.name)),
                ("state", json!(state)),
                ("disabled", json!(self.disabled)),
            ],
        )?;
        Ok(running || self.disabled)
    }

    /// Where everything of the job is.
    fn info(&self, format: Format) -> anyhow::Result<()> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let pid = self.pid()?.map(|pid| pid.as_raw_nonzero().get());
        let fields = [
            ("service", json!(self.service)),
            ("job", json!(self.name)),
            ("config", json!(self.ini.display().to_string())),
            ("pidfile", json!(path(&self.pidfile))),
            ("pid", json!(pid)),
            ("script", json!(self.script.as_deref().unwrap_or("pgq run"))),
            ("cwd", json!(path(&self.cwd))),
            ("user", json!(self.user)),
        ];
        if format == Format::Json {
            return Ok(done(format, "", &fields)?);
        }
        line(&format!("[{}] {}", self.service, self.name))?;
        for (name, value) in fields.iter().skip(2) {
            let value = match value {
                Value::Null => "-".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            line(&format!("  {name:8} {value}"))?;
        }
        Ok(())
    }

    fn start(&self) -> anyhow::Result<()> {
        if self.disabled {
            log::info!("{}: disabled", self.name);
            return Ok(());
        }
        if self.pidfile.is_none() {
            anyhow::bail!("{}: no pidfile configured", self.name);
        }
        if self.pid()?.is_some() {
            log::warn!("{}: runs already", self.name);
            return Ok(());
        }
        let mut command = self.command()?;
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        let status = command.stdin(Stdio::null()).status()?;
        if !status.success() {
            anyhow::bail!("{}: {status} at the start", self.name);
        }
        // The process itself says by its pid file that it got so far.
        if !wait_until(PATIENCE, || self.pid().is_ok_and(|pid| pid.is_some())) {
            anyhow::bail!("{}: did not start; see its log", self.name);
        }
        line(&format!("{} started", self.name))?;
        Ok(())
    }

    /// The service's own script where the registry names one, else `pgq run`.
    fn command(&self) -> anyhow::Result<Command> {
        let mut words: Vec<String> = Vec::new();
        if let Some(user) = &self.user {
            words.extend(["sudo", "-nH", "-u", user].map(str::to_owned));
        }
        match &self.script {
            Some(script) => words.push(script.clone()),
            None => {
                words.push(std::env::current_exe()?.display().to_string());
                words.push("run".to_owned());
            }
        }
        words.push(self.ini.display().to_string());
        words.extend(self.args.split_whitespace().map(str::to_owned));
        words.push("-d".to_owned());
        let (program, arguments) = match words.split_first() {
            Some(split) => split,
            None => anyhow::bail!("{}: nothing to start", self.name),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<bool> {
        let Some(path) = &self.pidfile else {
            anyhow::bail!("{}: no pidfile configured", self.name);
        };
        let sent = match (pidfile::signal(path, signal, self.is_foreign()), &self.user) {
            // The process is somebody else's; whoever may start it by sudo may signal it by sudo.
            (Err(Error::Io { source, .. }), Some(user))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                self.signal_as(user, signal)?
            }
            (sent, _) => sent?,
        };
        if !sent {
            log::warn!("{}: not running", self.name);
        }
        Ok(sent)
    }

    fn signal_as(&self, user: &str, signal: Signal) -> anyhow::Result<bool> {
        let Some(pid) = self.pid()? else { return Ok(false) };
        let status = Command::new("sudo")
            .args(["-n", "-u", user, "kill", &format!("-{}", signal.as_raw())])
            .arg(pid.as_raw_nonzero().to_string())
            .status()?;
        if !status.success() {
            anyhow::bail!("{}: sudo kill: {status}", self.name);
        }
        Ok(true)
    }

    fn wait(&self) -> anyhow::Result<()> {
        if !wait_until(PATIENCE, || self.pid().is_ok_and(|pid| pid.is_none())) {
            anyhow::bail!("{}: does not end", self.name);
        }
        Ok(())
    }
}

fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let (pause, end) = (Stop::new(), Instant::now() + limit);
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        pause.sleep(Duration::from_millis(100));
    }
    true
}

/// All jobs of the files in config_list. A file without any service is said, and left out.
fn find_jobs(registry: &Ini) -> Result<Vec<Job>, Error> {
    let manager = registry.section("scriptmgr")?;
    let mut patterns = manager.list("config_list")?;
    if patterns.is_empty() {
        patterns.push("/etc/skytools/*.ini".to_owned());
    }
    let mut jobs: Vec<Job> = Vec::new();
    for pattern in &patterns {
        for path in expand(pattern)? {
            let ini = Ini::read(&path)?;
            if ini.section_names().any(|name| name == "scriptmgr") {
                continue;
            }
            let before = jobs.len();
            for name in ini.section_names() {
                let known = registry.section_names().any(|own| own == name);
                if known || SERVICES.contains(&name) {
                    jobs.push(job(registry, &ini, name)?);
                }
            }
            if jobs.len() == before {
                log::warn!("{}: no section is a known service", path.display());
            }
        }
    }
    Ok(jobs)
}

fn job(registry: &Ini, ini: &Ini, name: &str) -> Result<Job, Error> {
    let section = ini.section(name)?;
    let service = registry.section(name).ok();
    let of_service = |key: &str| -> Result<Option<String>, Error> {
        let value = service.as_ref().map(|service| service.get(key)).transpose()?.flatten();
        Ok(value.filter(|value| !value.is_empty()))
    };
    let disabled = match &service {
        Some(service) => service.boolean("disabled")?.unwrap_or(false),
        None => false,
    };
    Ok(Job {
        name: section.require("job_name")?,
        service: name.to_owned(),
        ini: ini.path().to_owned(),
        pidfile: section.file("pidfile")?,
        disabled: disabled || section.boolean("disabled")?.unwrap_or(false),
        script: of_service("script")?,
        cwd: of_service("cwd")?.map(PathBuf::from),
        args: of_service("args")?.unwrap_or_default(),
        user: of_service("user")?,
    })
}
