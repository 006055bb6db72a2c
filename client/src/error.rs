//! The one error type of the library. The server's SQLSTATE survives in it; whether trying again
//! can help is said in `cure`.

use std::fmt;
use std::path::PathBuf;

use pgq_connect::with_causes;
use postgres::error::{DbError, SqlState};

/// What a handler, or any other code of the caller's, may fail with. One that is an [`Error`] says
/// by it whether the batch comes again: see [`Error::cure`]. After any other it does.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that can go wrong in this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused a statement. The SQLSTATE tells why: 42704 for a queue or consumer that
    /// does not exist.
    #[error("{0}")]
    Server(ServerError),
    /// No connection could be made. `to` names hosts, database and user, never the password.
    #[error("cannot connect to {to}: {reason}")]
    Connect {
        /// Hosts, database and user.
        to: String,
        /// The server's or the operating system's words.
        reason: String,
        /// SQLSTATE, when it was the server that refused.
        sqlstate: Option<String>,
    },
    /// The connection broke.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server's answer was not what the protocol or PgQ's contract says.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// A setting, connection string or INI file is wrong.
    #[error("{0}")]
    Config(String),
    /// The database lacks an extension or a function.
    #[error("{0}")]
    Missing(String),
    /// The open batch is no longer ours: another process finished it, or the consumer was moved.
    #[error(
        "batch {batch_id} of consumer \"{consumer}\" is gone: another process finished it or moved the consumer"
    )]
    BatchGone {
        /// The batch.
        batch_id: i64,
        /// The consumer.
        consumer: String,
    },
    /// The position kept in the target database fits neither end of the batch: a restore of either
    /// side, or a wrong target.
    #[error(
        "lost position: batch is ticks {previous} to {current}, but the target has tick {target} for consumer \"{consumer}\""
    )]
    LostPosition {
        /// The consumer.
        consumer: String,
        /// Tick at which the batch begins.
        previous: i64,
        /// Tick at which the batch ends.
        current: i64,
        /// Tick that the target has completed.
        target: i64,
    },
    /// The session may only read, and not because the server is a standby.
    #[error(
        "{0}; the server is no standby: see default_transaction_read_only of the role, the database or the connection string"
    )]
    ReadOnly(Box<Self>),
    /// A node of a cascade cannot go on: its position is lost, an event cannot be applied, or a
    /// function of the cascade refuses.
    #[error("{0}")]
    Cascade(String),
    /// Events wait for a tick, and nobody makes one.
    #[error("events of queue \"{queue}\" wait for a tick that does not come: {reason}")]
    NoTick {
        /// The queue.
        queue: String,
        /// What the server knows about it.
        reason: String,
    },
    /// A handler failed and the policy is to repeat the whole batch.
    #[error(
        "handler failed{}: {}",
        .event_id.map(|id| format!(" on event {id}")).unwrap_or_default(),
        handler_text(.source.as_ref())
    )]
    Handler {
        /// The event, when the handler takes single events.
        event_id: Option<i64>,
        /// What the handler said.
        source: HandlerError,
    },
    /// An event's payload could not be turned into, or made from, the caller's type.
    #[error("event payload: {0}")]
    Payload(String),
    /// An event names a table or queue that it may not write to.
    #[error("{0}")]
    Refused(String),
    /// An event names a table or column that the target does not have.
    #[error("{0}")]
    Absent(String),
    /// The handler itself cannot be run, whatever the event.
    #[error("the handler cannot be run: {what}")]
    NoCommand {
        /// What was tried, and what came of it.
        what: String,
        /// It exists, but may not be run.
        denied: bool,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// An error message of the server, reduced to what a user can act on.
#[derive(Clone, Debug)]
pub struct ServerError {
    /// Five-character code.
    pub sqlstate: String,
    /// Primary message.
    pub message: String,
    /// Detail line, if any.
    pub detail: Option<String>,
    /// Hint line, if any.
    pub hint: Option<String>,
}

impl ServerError {
    /// As the server says it of a relation that a queue names and that is not its own (XX001).
    pub fn not_event_table(relation: &str) -> Self {
        Self {
            sqlstate: "XX001".to_owned(),
            message: format!("relation {relation} is not an event table"),
            detail: None,
            hint: None,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        if let Some(detail) = &self.detail {
            write!(formatter, "; {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "; hint: {hint}")?;
        }
        Ok(())
    }
}

impl From<&DbError> for ServerError {
    fn from(error: &DbError) -> Self {
        Self {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        if let Some(db_error) = error.as_db_error() {
            // The server says goodbye with one of these before it closes the connection.
            let ends_session = [
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::IDLE_SESSION_TIMEOUT,
                SqlState::DATABASE_DROPPED,
            ]
            .contains(db_error.code());
            return if ends_session || db_error.code().code().starts_with("08") {
                Self::Lost(db_error.message().to_owned())
            } else {
                Self::Server(db_error.into())
            };
        }
        let text = with_causes(&error);
        let by_io = std::error::Error::source(&error)
            .is_some_and(|cause| cause.downcast_ref::<std::io::Error>().is_some());
        if error.is_closed() || by_io { Self::Lost(text) } else { Self::Answer(text) }
    }
}

impl From<pgq_replica::Error> for Error {
    fn from(error: pgq_replica::Error) -> Self {
        use pgq_replica::Error as Replica;
        match error {
            Replica::Payload(what) => Self::Payload(what),
            Replica::Refused(what) => Self::Refused(what),
            Replica::Absent(what) => Self::Absent(what),
            Replica::Answer(what) => Self::Answer(what),
            other => Self::Cascade(other.to_string()),
        }
    }
}

impl pgq_replica::Failure for Error {
    fn sqlstate(&self) -> Option<&str> {
        self.sqlstate()
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    fn is_of_event(&self) -> bool {
        self.is_of_event()
    }
}

impl From<pgq_connect::Error> for Error {
    fn from(error: pgq_connect::Error) -> Self {
        match error {
            pgq_connect::Error::Io { path, source } => Self::Io { path, source },
            pgq_connect::Error::Connect { to, reason, sqlstate } => {
                let sqlstate = sqlstate.map(|sqlstate| sqlstate.code().to_owned());
                Self::Connect { to, reason, sqlstate }
            }
            other => Self::Config(other.to_string()),
        }
    }
}

/// A handler's error on one line, with the SQLSTATE when it was the server's.
pub(crate) fn handler_text(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<postgres::Error>().and_then(postgres::Error::as_db_error) {
        Some(db_error) => ServerError::from(db_error).to_string(),
        None => with_causes(error),
    }
}

impl Error {
    /// The server's SQLSTATE, when there is one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.sqlstate),
            Self::ReadOnly(error) => error.sqlstate(),
            Self::Connect { sqlstate, .. } => sqlstate.as_deref(),
            Self::Handler { source, .. } => sqlstate_of(source.as_ref()),
            _ => None,
        }
    }
}

/// SQLSTATE of a handler's error, when it came from this library or from `postgres`.
pub(crate) fn sqlstate_of<'e>(
    error: &'e (dyn std::error::Error + Send + Sync + 'static),
) -> Option<&'e str> {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.sqlstate();
    }
    error.downcast_ref::<postgres::Error>().and_then(|error| error.code()).map(SqlState::code)
}

#[cfg(test)]
mod tests {
    use super::{Error, ServerError};

    fn server(code: &str) -> Error {
        Error::Server(ServerError {
            sqlstate: code.to_owned(),
            message: "m".to_owned(),
            detail: None,
            hint: Some("h".to_owned()),
        })
    }

    #[test]
    fn message_carries_sqlstate_and_hint() {
        assert_eq!(server("42704").to_string(), "m (SQLSTATE 42704); hint: h");
    }
}
