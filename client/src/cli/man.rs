//! Man pages, which the build asks for.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use clap_mangen::Man as Page;

use super::{EVERY_COMMAND, Exit, examples, exit};

/// Write `pgq.1` and one page per subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Directory
    directory: PathBuf,
}

impl Man {
    pub(super) fn run(&self, command: Command) -> anyhow::Result<Exit> {
        std::fs::create_dir_all(&self.directory)?;
        let mut command = command.disable_help_subcommand(true);
        command.build();
        write_pages(&command, "", &self.directory)?;
        Ok(Exit::Ok)
    }
}

/// A page for the command, and those of its subcommands.
fn write_pages(command: &Command, path: &str, directory: &Path) -> std::io::Result<()> {
    let subcommands: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
    for sub in &subcommands {
        let path = format!("{path} {}", sub.get_name());
        write_pages(sub, path.trim_start(), directory)?;
    }
    let page = Page::new(command.clone().override_usage(synopsis(command)));
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    if !subcommands.is_empty() {
        page.render_subcommands_section(&mut out)?;
    }
    let examples = examples::of(path);
    if !examples.is_empty() {
        writeln!(out, ".SH EXAMPLES\n.nf")?;
        for example in examples {
            writeln!(out, "{}", escaped(example))?;
        }
        writeln!(out, ".fi")?;
    }
    if path.is_empty() {
        writeln!(out, ".SH \"EXIT STATUS\"\n{}", escaped(exit::CODES))?;
        page.render_version_section(&mut out)?;
    }
    std::fs::write(directory.join(page.get_filename()), out)
}

/// Options and arguments of the command itself, with their values.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut words = vec![name.to_owned()];
    let own = |arg: &&Arg| {
        !arg.is_hide_set()
            && !matches!(arg.get_id().as_str(), "help" | "version")
            && arg.get_help_heading() != Some(EVERY_COMMAND)
    };
    words.extend(command.get_arguments().filter(own).map(argument));
    if command.has_subcommands() {
        words.push("COMMAND".to_owned());
    }
    words.join(" ")
}

fn argument(arg: &Arg) -> String {
    let values = arg.get_action().takes_values().then(|| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
    });
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => Some(format!("--{long}")),
        (None, short) => short.map(|short| format!("-{short}")),
    };
    let more =
        if arg.get_num_args().is_some_and(|count| count.max_values() > 1) { " ..." } else { "" };
    let words: Vec<String> = flag.into_iter().chain(values).collect();
    let text = format!("{}{more}", words.join(" "));
    if arg.is_required_set() { text } else { format!("[{text}]") }
}

/// A text that roff takes for nothing else.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
