//! The other archivers, as `tests/env/archivers.sh` unpacks them.

use std::path::PathBuf;
use std::process::Command;

fn directory() -> PathBuf {
    let work = std::env::var_os("PGQ_WORK").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
        PathBuf::from,
    );
    let directory = work.join("archivers");
    assert!(directory.join(".complete").exists(), "run tests/env/archivers.sh, or `make bench`");
    directory
}

/// Path of pgBackRest.
pub(crate) fn backrest() -> PathBuf {
    directory().join("usr/bin/pgbackrest")
}

/// Barman as words for a shell.
pub(crate) fn barman() -> String {
    let directory = directory().display().to_string();
    format!(
        "env PYTHONPATH={directory}/usr/lib/python3/dist-packages python3 {directory}/usr/bin/barman"
    )
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

/// "pgBackRest 2.45"
pub(crate) fn backrest_version() -> String {
    first_line(Command::new(backrest()).arg("version"))
}

/// "3.4.0"
pub(crate) fn barman_version() -> String {
    let line = first_line(Command::new("sh").args(["-c", &format!("{} --version", barman())]));
    line.split(' ').next().unwrap_or_default().to_owned()
}
