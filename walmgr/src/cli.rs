//! The options of every verb, and the ways of walmgr3 to say them.
//!
//! `walmgr --config FILE VERB …`; walmgr3's order, `walmgr FILE VERB …`, works too, as do its names
//! `xarchive` and `xrestore`.

use std::ffi::OsString;
use std::path::PathBuf;

// Not a doc comment: clap would take it for what the program does.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Configuration file: TOML, or an INI of walmgr3.
    #[arg(long, short, env = "WALMGR_CONFIG", default_value = "/etc/walmgr.toml")]
    pub(crate) config: PathBuf,
    /// Say more; messages go to standard error.
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Say only what went wrong.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print what would be done, and change nothing.
    #[arg(long, short = 'n', visible_alias = "not-really", global = true)]
    pub(crate) dry_run: bool,
    /// Only this one of the configuration's repositories.
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) repo: Option<String>,
}

/// True when the process was called as a restore command. Known without parsing, since there even a
/// usage error must not look like "no such file".
pub(crate) fn is_archive_get() -> bool {
    std::env::args_os().skip(1).any(|arg| arg == "archive-get" || arg == "xrestore")
}

/// The arguments of a process: `walmgr FILE.ini VERB` becomes `walmgr --config FILE.ini VERB`.
pub(crate) fn rearrange(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_file = args.get(1).and_then(|arg| arg.to_str()).is_some_and(|arg| {
        !arg.starts_with('-') && (arg.ends_with(".ini") || arg.ends_with(".toml"))
    });
    if is_file {
        args.insert(1, "--config".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::rearrange;

    #[test]
    fn a_configuration_file_may_come_first() {
        let rearranged = |args: &[&str]| rearrange(args.iter().map(OsString::from).collect());
        let expected = ["walmgr", "--config", "/etc/x.ini", "boot"].map(OsString::from);
        assert_eq!(rearranged(&["walmgr", "/etc/x.ini", "boot"]), expected);
        for args in [&["walmgr", "boot"][..], &["walmgr", "--config", "x.ini"], &["walmgr"]] {
            let same: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert_eq!(rearranged(args), same);
        }
    }
}
