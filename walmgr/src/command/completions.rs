//! `completions`, and the man pages that the build asks for.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::{Error, Result};
use crate::manual;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to print them for.
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Directory to write them to.
    directory: PathBuf,
}

/// Print completions.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "walmgr", &mut text);
    crate::log::print(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

/// Write `walmgr.1`, one page for each verb, and `walmgr.toml.5`.
pub(crate) fn man(args: &Man) -> Result<()> {
    let what = || Error::local(format!("write {}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(what())?;
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(what())?;
    let path = args.directory.join("walmgr.toml.5");
    std::fs::write(path, manual::page()).map_err(what())
}
