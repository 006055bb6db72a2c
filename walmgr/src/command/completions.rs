//! `completions`, and the man pages that the build asks for.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap_complete::Shell;

    use super::{Cli, Man, man};

    #[test]
    fn every_verb_has_a_page_and_is_completed() {
        let directory = tempfile::tempdir().unwrap();
        man(&Man { directory: directory.path().to_owned() }).unwrap();
        let page = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let all = page("walmgr.1");
        let mut scripts = Vec::new();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "walmgr", &mut script);
            scripts.push(String::from_utf8(script).unwrap());
        }
        let command = Cli::command();
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let names: Vec<&str> = verbs.map(clap::Command::get_name).collect();
        assert!(names.contains(&"stanza-upgrade") && names.contains(&"unpin"), "{names:?}");
        for name in names {
            assert!(!page(&format!("walmgr-{name}.1")).is_empty(), "{name}");
            assert!(all.contains(&name.replace('-', "\\-")), "{name} is not in walmgr.1");
            assert!(scripts.iter().all(|script| script.contains(name)), "{name}");
        }
        assert!(page("walmgr.toml.5").starts_with(".TH WALMGR.TOML 5"));
    }
}
