//! The receiver: PostgreSQL's own `pg_receivewal`, with a slot, so that the server keeps what has
//! not arrived, and with flush replies, so that a server which counts it as synchronous commits
//! nothing that is not on this disk.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pgq_connect::ForProgram;
use rustix::process::{Pid, Signal, kill_process};

use crate::config::Config;
use crate::context::Context;
use crate::error::{Error, Result};

/// Name of the receiver in `pg_stat_replication` and `synchronous_standby_names`.
const NAME: &str = "walmgr";

/// A running receiver, which is ended with the value.
pub(crate) struct Receiver(Child);

impl Receiver {
    /// Start receiving into a spool, up to a position or for ever. One that an earlier walmgr left
    /// behind is ended first.
    ///
    /// # Errors
    /// [`Error::Local`] when the program cannot be run.
    pub(crate) fn start(context: &Context, spool: &Path, until: Option<&str>) -> Result<Self> {
        end_leftover(spool)?;
        let mut command = command(context, spool)?;
        command.args(["--synchronous", "--no-loop"]);
        if let Some(until) = until {
            command.args(["--endpos", until]);
        }
        let child = command.spawn().map_err(Error::local("run pg_receivewal"))?;
        let receiver = Self(child);
        let pidfile = spool.join("receiver.pid");
        fs::write(&pidfile, receiver.0.id().to_string())
            .map_err(Error::local(format!("write {}", pidfile.display())))?;
        Ok(receiver)
    }

    /// True while it runs.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.0.try_wait().map_err(Error::local("wait for pg_receivewal"))?.is_none())
    }

    /// Whether it ended well; to be asked when it has ended.
    pub(crate) fn succeeded(&mut self) -> Result<bool> {
        Ok(self.0.wait().map_err(Error::local("wait for pg_receivewal"))?.success())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // SIGINT: it syncs what it has and says goodbye. One that has ended already is no failure.
        if let Ok(Some(_)) = self.0.try_wait() {
            return;
        }
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = self.0.wait();
    }
}

/// Make the slot, unless it is there.
///
/// # Errors
/// [`Error::Failed`].
pub(crate) fn create_slot(context: &Context, spool: &Path) -> Result<()> {
    let mut command = command(context, spool)?;
    command.args(["--create-slot", "--if-not-exists"]);
    crate::process::run(&mut command, "pg_receivewal --create-slot")
}

fn command(context: &Context, spool: &Path) -> Result<Command> {
    let mut command = Command::new(context.config.program("pg_receivewal"));
    command.arg("--directory").arg(spool);
    ForProgram::new(conninfo(context)?, Some(("application_name", NAME)))?.give(&mut command);
    command.args(["--slot", &slot(context), "--no-password"]);
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    Ok(command)
}

/// Where to receive from.
pub(crate) fn conninfo(context: &Context) -> Result<&str> {
    source(&context.config).map_or_else(|| context.config.connect(), Ok)
}

/// The same, if the configuration says it: the primary, else the server itself.
pub(crate) fn source(config: &Config) -> Option<&str> {
    config.standby.primary_conninfo.as_deref().or(config.cluster.connect.as_deref())
}

fn slot(context: &Context) -> String {
    let named = context.config.sync.slot.clone();
    named.unwrap_or_else(|| {
        let plain =
            |ch: char| if ch.is_ascii_alphanumeric() { ch.to_ascii_lowercase() } else { '_' };
        format!("walmgr_{}", context.config.stanza.chars().map(plain).collect::<String>())
    })
}

/// End a receiver whose walmgr was killed: it would keep the slot busy.
fn end_leftover(spool: &Path) -> Result<()> {
    let Ok(text) = fs::read_to_string(spool.join("receiver.pid")) else { return Ok(()) };
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    // The number may be somebody else's by now.
    let arguments = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let words: Vec<_> = arguments.split(|byte| *byte == 0).collect();
    let is_ours = words.first().is_some_and(|word| word.ends_with(b"pg_receivewal"))
        && words.contains(&spool.as_os_str().as_encoded_bytes());
    if !is_ours {
        return Ok(());
    }
    kill_process(pid, Signal::INT).map_err(Error::local("end the receiver left behind"))?;
    let gone = crate::pg::standby::poll(std::time::Duration::from_secs(30), || {
        Ok(rustix::process::test_kill_process(pid).is_err())
    })?;
    if gone { Ok(()) } else { Err(Error::Locked("a receiver left behind does not end".to_owned())) }
}
