//! `pgq completions`.

use clap_complete::Shell;

use super::{Exit, output};

/// Print completions.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Shell to print them for
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, command: &mut clap::Command) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "pgq", &mut script);
        output::write(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Ok)
    }
}
