//! Colours for terminals. `NO_COLOR` turns them off, as <https://no-color.org> asks.

use std::io::IsTerminal;

pub(super) const BOLD: &str = "\x1b[1m";
pub(super) const DIM: &str = "\x1b[2m";
pub(super) const REVERSE: &str = "\x1b[7m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
pub(super) const PLAIN: &str = "\x1b[0m";

/// True when standard output is a terminal that is to have colours.
pub(super) fn on_stdout() -> bool {
    std::io::stdout().is_terminal() && are_wanted()
}

/// False when the environment forbids them.
pub(super) fn are_wanted() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// A line in the colour of its severity.
pub(super) fn by_severity(line: &str, severity: Option<&str>, colours: bool) -> String {
    let colour = match severity {
        Some("critical" | "error") => RED,
        Some("warning") => YELLOW,
        Some("info") => CYAN,
        _ => return line.to_owned(),
    };
    if colours { format!("{colour}{line}{PLAIN}") } else { line.to_owned() }
}
