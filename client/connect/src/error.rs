//! Why there is no connection.

use std::path::PathBuf;

use postgres::error::SqlState;

/// What can go wrong before there is a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A connection string, option, certificate or service that cannot be used.
    #[error("{0}")]
    Config(String),
    /// A file that the options name cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// No connection could be made.
    #[error("cannot connect to {to}: {reason}")]
    Connect {
        /// Hosts, database and user; never the password.
        to: String,
        /// The server's or the operating system's words.
        reason: String,
        /// When it was the server that refused.
        sqlstate: Option<SqlState>,
    },
}

/// An error and what caused it, on one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
