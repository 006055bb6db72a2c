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

/// Quote a word for `sh`, and its `%` for the server's placeholders.
pub(crate) fn shell_quote(word: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    let quoted = if word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    };
    quoted.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::shell_quote;

    #[test]
    fn words_are_quoted_for_the_shell_and_the_server() {
        assert_eq!(shell_quote("/a/b-c.toml"), "/a/b-c.toml");
        assert_eq!(shell_quote("/a b/'x%p"), "'/a b/'\\''x%%p'");
    }
}
