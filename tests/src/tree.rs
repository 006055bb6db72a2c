//! Private PostgreSQL installations.

use std::path::PathBuf;
use std::process::Command;

/// A private PostgreSQL installation that `tests/env/tree.sh` has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// This project's extensions, installed by `make build`.
    Ours,
    /// Upstream's PgQ 3.5, pgq_node 3.5 and londiste 3.8 as Debian packages them, for comparison.
    Peer,
}

impl Tree {
    /// Path of the tree's `bin` directory.
    pub fn bin(self) -> PathBuf {
        let name = match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        };
        let version = major_version();
        let bin = work_dir().join(format!("pg/{version}/{name}/usr/lib/postgresql/{version}/bin"));
        assert!(
            bin.join("postgres").exists(),
            "no PostgreSQL in {}: run `make test`",
            bin.display()
        );
        bin
    }

    /// Start building a command of this tree (`psql`, `pg_dump`, `pgbench`, …).
    pub fn command(self, program: &str) -> Command {
        let mut command = Command::new(self.bin().join(program));
        command.env_remove("RUST_BACKTRACE");
        command
    }
}

/// Where trees and clusters live: `PGQ_WORK`, else the workspace's `target` directory.
pub(crate) fn work_dir() -> PathBuf {
    match std::env::var_os("PGQ_WORK") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
    }
}

/// Major version under test: `PG`, else 15.
pub fn major_version() -> String {
    std::env::var("PG").unwrap_or_else(|_| "15".to_owned())
}
