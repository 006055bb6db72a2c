//! The files that are looked at.

use std::io;
use std::process::Command;

use crate::lexer::{self, Lexed};

/// A file that git knows, or would if it were added.
pub(crate) struct Source {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Of a Rust file: what is code in it.
    pub(crate) rust: Option<Lexed>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let rust = path.ends_with(".rs").then(|| lexer::lex(text));
        Self { path: path.to_owned(), text: text.to_owned(), rust }
    }

    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// Which files have rules. Recorded results (`.txt`) and other people's releases have none.
pub(crate) fn has_rules(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let kinds = [".rs", ".sql", ".sh", ".control"];
    (kinds.iter().any(|kind| name.ends_with(kind)) || matches!(name, "Makefile" | "Cargo.toml"))
        && !path.starts_with("tests/fixtures/")
}

/// All files below the root that git knows, or would if they were added.
pub(crate) fn list(root: &str) -> io::Result<Vec<String>> {
    let listed = Command::new("git")
        .args(["-C", root, "ls-files", "--cached", "--others", "--exclude-standard"])
        .output()?;
    if !listed.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&listed.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

/// Those files that are wanted.
pub(crate) fn read(
    root: &str,
    paths: &[String],
    is_wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| is_wanted(path)) {
        match std::fs::read_to_string(format!("{root}/{path}")) {
            Ok(text) => sources.push(Source::new(path, &text)),
            // Deleted, and git not told yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        }
    }
    Ok(sources)
}
