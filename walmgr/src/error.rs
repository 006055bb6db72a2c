//! The one error type, and the exit code of each kind.
//!
//! Exit codes are an interface: scripts and PostgreSQL act on them. They are listed in
//! `docs/walmgr.md` and never reused.

use std::io;

use pgq_connect::with_causes;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The named thing does not exist, said with authority.
    #[error("{0}")]
    NotFound(String),
    /// A condition outside walmgr's control that has no code of its own.
    #[error("{0}")]
    Failed(String),
    /// The newest backup is older than it may be.
    #[error("{0}")]
    TooOld(String),
    /// The server has given WAL to its archiver, and it did not arrive.
    #[error("{0}")]
    NotArrived(String),
    /// Wrong arguments or configuration.
    #[error("{0}")]
    Usage(String),
    /// Somebody else holds the lock.
    #[error("{0}")]
    Locked(String),
    /// The repository does not answer, cannot be written, or is not there.
    #[error("repository: {what}: {source}")]
    Repository {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store keeps the object for longer.
    #[error("{0}")]
    Retained(String),
    /// Wrong system identifier, or a name that already stands for other content.
    #[error("{0}")]
    Mismatch(String),
    /// Stored or given bytes are not what they claim to be.
    #[error("{0}")]
    Corrupt(String),
    /// The repository is encrypted and the key is missing or another, or it is not encrypted and
    /// should be.
    #[error("{0}")]
    Key(String),
    /// PostgreSQL refused, or cannot be reached.
    #[error("PostgreSQL: {0}")]
    Server(String),
    /// The daemon met a failure with this exit code.
    #[error("{1}")]
    Daemon(u8, String),
    /// A local file or process, outside the repository.
    #[error("{what}: {source}")]
    Local {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The same, and in which of several repositories.
    pub(crate) fn in_repository(self, name: &str) -> Self {
        let say = |what: String| format!("repository \"{name}\": {what}");
        match self {
            Self::NotFound(what) => Self::NotFound(say(what)),
            Self::Failed(what) => Self::Failed(say(what)),
            Self::TooOld(what) => Self::TooOld(say(what)),
            Self::NotArrived(what) => Self::NotArrived(say(what)),
            Self::Usage(what) => Self::Usage(say(what)),
            Self::Locked(what) => Self::Locked(say(what)),
            Self::Retained(what) => Self::Retained(say(what)),
            Self::Mismatch(what) => Self::Mismatch(say(what)),
            Self::Corrupt(what) => Self::Corrupt(say(what)),
            Self::Key(what) => Self::Key(say(what)),
            Self::Repository { what, source } => {
                Self::Repository { what: format!("\"{name}\": {what}"), source }
            }
            // Not of a repository.
            other @ (Self::Server(_) | Self::Daemon(..) | Self::Local { .. }) => other,
        }
    }

    /// The same once more, for another who waited for the outcome.
    pub(crate) fn again(&self) -> Self {
        let cause = |source: &io::Error| io::Error::new(source.kind(), source.to_string());
        match self {
            Self::NotFound(what) => Self::NotFound(what.clone()),
            Self::Failed(what) => Self::Failed(what.clone()),
            Self::TooOld(what) => Self::TooOld(what.clone()),
            Self::NotArrived(what) => Self::NotArrived(what.clone()),
            Self::Usage(what) => Self::Usage(what.clone()),
            Self::Locked(what) => Self::Locked(what.clone()),
            Self::Retained(what) => Self::Retained(what.clone()),
            Self::Mismatch(what) => Self::Mismatch(what.clone()),
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
            Self::Key(what) => Self::Key(what.clone()),
            Self::Server(what) => Self::Server(what.clone()),
            Self::Daemon(code, what) => Self::Daemon(*code, what.clone()),
            Self::Repository { what, source } => {
                Self::Repository { what: what.clone(), source: cause(source) }
            }
            Self::Local { what, source } => {
                Self::Local { what: what.clone(), source: cause(source) }
            }
        }
    }

    /// The process exit code; always 1 to 125, which PostgreSQL's archiver counts and retries.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Locked(_) => 3,
            Self::Repository { .. } | Self::Retained(_) => 4,
            Self::Mismatch(_) => 5,
            Self::Corrupt(_) => 6,
            Self::Server(_) => 7,
            Self::Local { .. } => 8,
            Self::TooOld(_) => 9,
            Self::NotArrived(_) => 10,
            Self::Key(_) => 11,
            Self::Daemon(code, _) => (*code).clamp(1, 125),
        }
    }

    /// Wrap an error of the repository's storage. What came through a reader as damage or a wrong
    /// key stays that.
    pub(crate) fn repository<E: Into<io::Error>>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| {
            let source: io::Error = source.into();
            match source.downcast::<Self>() {
                Ok(own @ (Self::Corrupt(_) | Self::Key(_))) => own,
                Ok(own) => Self::Repository { what, source: io::Error::other(own) },
                Err(source) => Self::Repository { what, source },
            }
        }
    }

    /// Wrap an error of a local file.
    pub(crate) fn local<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Local { what, source: source.into() }
    }
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        // The driver's own text hides the server's message behind "db error".
        Self::Server(match error.as_db_error() {
            Some(db) => said(db.message(), db.code().code()),
            None => with_causes(&error),
        })
    }
}

impl From<pgq_connect::Error> for Error {
    fn from(error: pgq_connect::Error) -> Self {
        match error {
            pgq_connect::Error::Connect { reason, sqlstate, .. } => {
                Self::Server(sqlstate.map_or(reason.clone(), |code| said(&reason, code.code())))
            }
            other => Self::Usage(other.to_string()),
        }
    }
}

/// What a server said.
fn said(message: &str, sqlstate: &str) -> String {
    format!("{message} (SQLSTATE {sqlstate})")
}

/// Result of anything that may fail.
pub(crate) type Result<T> = std::result::Result<T, Error>;
