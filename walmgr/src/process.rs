//! Running other programs.

use std::process::{Command, Stdio};

use crate::error::{Error, Result};
use crate::log;

/// Run a command of the site with `sh -c`.
///
/// # Errors
/// [`Error::Failed`] with its exit status.
pub(crate) fn shell(command: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]);
    run(&mut shell, command)
}

/// Run a program to its end; its output goes to standard error.
///
/// # Errors
/// [`Error::Failed`] with its exit status.
pub(crate) fn run(command: &mut Command, name: &str) -> Result<()> {
    log::debug(format_args!("running: {name}"));
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(Error::local(format!("run {name}")))?;
    if status.success() { Ok(()) } else { Err(Error::Failed(format!("{name}: {status}"))) }
}
