//! What can be wrong with a file.

use std::path::PathBuf;

/// Why a file, or a value in it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A line or a value is wrong. The text names file and line, or file, section and key.
    #[error("{0}")]
    Wrong(String),
}
