//! A job: who runs it, and what it is told. Systemd is asked where it keeps the job; else the pid
//! file is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pgq_client::{Error, Stop};
use rustix::process::{Pid, Signal, geteuid};
use serde_json::{Value, json};

use super::kind::Kind;
use super::systemd::{State, Unit};
use crate::cli::output::{Format, done, line};
use crate::cli::pidfile;

/// A job found in an INI file.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) ini: PathBuf,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) disabled: bool,
    /// Its service, if systemd may be here and have one.
    pub(super) unit: Option<Unit>,
}

/// Who runs a job.
#[derive(Debug)]
struct Run<'j> {
    /// Systemd, where it knows of the job.
    kept: Option<(&'j Unit, State)>,
    /// A process that is not systemd's: started by hand, or before there was a unit.
    apart: Option<Pid>,
}

/// How long a process may take to end, when we wait for it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Run<'_> {
    fn pid(&self) -> Option<Pid> {
        self.kept.and_then(|(_, state)| state.pid).or(self.apart)
    }
}

impl Job {
    /// The process of the pid file: one that holds it, unless the job is a program that knows
    /// nothing of that.
    fn pid(&self) -> Result<Option<Pid>, Error> {
        let named = self.pidfile.as_deref().map_or(Ok(None), pidfile::running)?;
        let named = named.filter(|named| named.proven || self.is_foreign());
        Ok(named.map(|named| named.pid))
    }

    fn is_foreign(&self) -> bool {
        self.kind.script.is_some()
    }

    fn run(&self) -> Result<Run<'_>, Error> {
        let kept = match &self.unit {
            Some(unit) => unit.state()?.map(|state| (unit, state)),
            None => None,
        };
        let systemds = kept.and_then(|(_, state)| state.pid);
        let apart = self.pid()?.filter(|pid| systemds != Some(*pid));
        Ok(Run { kept, apart })
    }

    /// False when it is stopped, and should not be.
    pub(super) fn status(&self, format: Format) -> anyhow::Result<bool> {
        let run = self.run()?;
        let runs = run.pid().is_some();
        let state = match (&run.kept, &self.pidfile, runs) {
            (.., true) => "OK",
            (None, None, false) => "pidfile?",
            (.., false) => "STOPPED",
        };
        let disabled = if self.disabled { " (disabled)" } else { "" };
        let failed = match run.kept {
            Some((_, state)) if state.failed && !runs => " (failed)",
            _ => "",
        };
        let mut fields = vec![
            ("service", json!(self.kind.name)),
            ("job", json!(self.name)),
            ("state", json!(state)),
            ("disabled", json!(self.disabled)),
        ];
        if let Some((unit, state)) = run.kept {
            fields.extend([("unit", json!(unit.name())), ("failed", json!(state.failed))]);
        }
        let line = format!(" {state:8} [{}] {}{disabled}{failed}", self.kind.name, self.name);
        done(format, &line, &fields)?;
        Ok(runs || self.disabled)
    }

    /// Where everything of the job is.
    pub(super) fn info(&self, format: Format) -> anyhow::Result<()> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let run = self.run()?;
        let fields = [
            ("service", json!(self.kind.name)),
            ("job", json!(self.name)),
            ("config", json!(self.ini.display().to_string())),
            ("pidfile", json!(path(&self.pidfile))),
            ("pid", json!(run.pid().map(|pid| pid.as_raw_nonzero().get()))),
            ("script", json!(self.kind.script.as_deref().unwrap_or("pgq run"))),
            ("cwd", json!(path(&self.kind.cwd))),
            ("user", json!(self.kind.user)),
            ("unit", json!(run.kept.map(|(unit, _)| unit.name()))),
        ];
        if format == Format::Json {
            return Ok(done(format, "", &fields)?);
        }
        line(&format!("[{}] {}", self.kind.name, self.name))?;
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

    pub(super) fn start(&self) -> anyhow::Result<()> {
        if self.disabled {
            log::info!("{}: disabled", self.name);
            return Ok(());
        }
        let run = self.run()?;
        if run.pid().is_some() {
            log::warn!("{}: runs already", self.name);
            return Ok(());
        }
        match run.kept {
            Some((unit, _)) => unit.order(&["start"])?,
            None => self.start_apart()?,
        }
        line(&format!("{} started", self.name))?;
        Ok(())
    }

    fn start_apart(&self) -> anyhow::Result<()> {
        if self.pidfile.is_none() {
            anyhow::bail!("{}: no pidfile configured", self.name);
        }
        let mut command = self.command()?;
        if let Some(cwd) = &self.kind.cwd {
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
        Ok(())
    }

    /// What runs the job in the foreground: the kind's own script where the registry names one,
    /// else `pgq run`.
    pub(super) fn words(&self, pgq: &str) -> Vec<String> {
        let run = [pgq, "run"].map(str::to_owned).to_vec();
        let script = |script: &String| script.split_whitespace().map(str::to_owned).collect();
        let mut words = self.kind.script.as_ref().map_or(run, script);
        words.push(self.ini.display().to_string());
        words.extend(self.kind.args.split_whitespace().map(str::to_owned));
        words
    }

    /// The same as a daemon, and as the kind's user.
    fn command(&self) -> anyhow::Result<Command> {
        let mut words: Vec<String> = Vec::new();
        if let Some(user) = &self.kind.user {
            words.extend(become_user(user, &own_name()?, geteuid().is_root()));
        }
        words.extend(self.words(&std::env::current_exe()?.display().to_string()));
        words.push("-d".to_owned());
        let (program, arguments) = match words.split_first() {
            Some(split) => split,
            None => anyhow::bail!("{}: nothing to start", self.name),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    pub(super) fn stop(&self, wait: bool) -> anyhow::Result<()> {
        let run = self.run()?;
        // Also what waits for its restart.
        let kept = run.kept.filter(|(_, state)| !state.over);
        if run.apart.is_some() || kept.is_none() {
            self.signal(&run, Signal::INT)?;
        }
        if let Some((unit, _)) = kept {
            unit.order(if wait { &["stop"] } else { &["stop", "--no-block"] })?;
        }
        if wait { self.wait() } else { Ok(()) }
    }

    pub(super) fn reload(&self) -> anyhow::Result<()> {
        let run = self.run()?;
        if let Some(pid) = run.apart.filter(|pid| self.is_foreign() && !takes_hangup(*pid)) {
            anyhow::bail!("{}: process {pid} has no handler for SIGHUP, and would end", self.name);
        }
        let kept = run.kept.filter(|(_, state)| state.pid.is_some());
        if run.apart.is_some() || kept.is_none() {
            self.signal(&run, Signal::HUP)?;
        }
        kept.map_or(Ok(()), |(unit, _)| unit.order(&["reload"]))
    }

    pub(super) fn restart(&self) -> anyhow::Result<()> {
        self.stop(true)?;
        self.start()
    }

    /// Signal the process of the pid file.
    fn signal(&self, run: &Run<'_>, signal: Signal) -> anyhow::Result<()> {
        let sent = match (&self.pidfile, run.kept) {
            (Some(path), _) => self.signal_through(path, signal)?,
            // Systemd says that it does not run.
            (None, Some(_)) => false,
            (None, None) => anyhow::bail!("{}: no pidfile configured", self.name),
        };
        if !sent {
            log::warn!("{}: not running", self.name);
        }
        Ok(())
    }

    fn signal_through(&self, path: &Path, signal: Signal) -> anyhow::Result<bool> {
        match (pidfile::signal(path, signal, self.is_foreign()), &self.kind.user) {
            // The process is somebody else's; whoever may start it by sudo may signal it by sudo.
            (Err(Error::Io { source, .. }), Some(user))
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                self.signal_as(user, signal)
            }
            (sent, _) => Ok(sent?),
        }
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

/// Has the process a handler for SIGHUP? It is the first bit of a mask in hexadecimal. Of one that
/// has ended nothing is known.
fn takes_hangup(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 == 1)
}

/// What begins a command line that is to run as a user: root needs no sudo, and nobody needs it to
/// be who they are.
fn become_user(user: &str, own_name: &str, is_root: bool) -> Vec<String> {
    let words = match (user == own_name, is_root) {
        (true, _) => return Vec::new(),
        (false, true) => ["runuser", "-u", user, "--"],
        (false, false) => ["sudo", "-nH", "-u", user],
    };
    words.map(str::to_owned).to_vec()
}

/// Our own name, as the system knows us.
fn own_name() -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};

    use super::{Job, become_user};
    use crate::cli::services::kind::Kind;

    #[test]
    fn the_user_of_a_job_is_reached_by_the_shortest_way() {
        assert_eq!(become_user("joe", "root", true), ["runuser", "-u", "joe", "--"]);
        assert_eq!(become_user("joe", "ann", false), ["sudo", "-nH", "-u", "joe"]);
        assert!(become_user("joe", "joe", false).is_empty());
        assert!(become_user("root", "root", true).is_empty());
    }

    /// A script, once it has said that it is ready.
    fn script(text: &str) -> Child {
        // A shell cannot trap what nohup has it ignore.
        let mut sh = Command::new("env");
        sh.args(["--default-signal=HUP", "sh", "-c", text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
        child
    }

    #[test]
    fn a_script_is_told_to_reload_only_where_it_has_a_handler() {
        let dir = tempfile::tempdir().unwrap();
        let pidfile = dir.path().join("pid");
        let job = Job {
            name: "j".to_owned(),
            kind: Kind { script: Some("sh".to_owned()), ..Kind::default() },
            ini: Path::new("/j.ini").to_owned(),
            pidfile: Some(pidfile.clone()),
            disabled: false,
            unit: None,
        };
        let mut without = script("echo ready; read line; exit 3");
        std::fs::write(&pidfile, without.id().to_string()).unwrap();
        let error = job.reload().unwrap_err().to_string();
        assert!(error.contains("no handler for SIGHUP"), "{error}");
        // It goes on, to the end of its input.
        assert_eq!(without.wait().unwrap().code(), Some(3));

        let mut with = script("trap 'exit 4' HUP; echo ready; while :; do read line; done");
        std::fs::write(&pidfile, with.id().to_string()).unwrap();
        job.reload().unwrap();
        assert_eq!(with.wait().unwrap().code(), Some(4));
    }
}
