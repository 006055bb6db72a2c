//! `pgq completions`, and the man pages that the build asks for.

use std::path::PathBuf;

use clap_complete::Shell;

use super::Exit;

/// Print completions.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Shell to print them for
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, command: &mut clap::Command) -> anyhow::Result<Exit> {
        clap_complete::generate(self.shell, command, "pgq", &mut std::io::stdout().lock());
        Ok(Exit::Ok)
    }
}

/// Write `pgq.1` and one page per subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Directory
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(&self, command: clap::Command) -> anyhow::Result<Exit> {
        std::fs::create_dir_all(&self.directory)?;
        clap_mangen::generate_to(command, &self.directory)?;
        Ok(Exit::Ok)
    }
}
