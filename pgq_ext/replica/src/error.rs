//! The one error type of the crate.

/// What can be wrong with an event, its table, or an answer of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An event that cannot be applied, whatever the target is.
    #[error("event payload: {0}")]
    Payload(String),
    /// An event names a table that it may not write to.
    #[error("{0}")]
    Refused(String),
    /// An event names a table or column that the target does not have.
    #[error("{0}")]
    Absent(String),
    /// The node's database does not take an event.
    #[error("event {id}, table \"{table}\": {reason}")]
    Event {
        /// The event's id.
        id: i64,
        /// Its table.
        table: String,
        /// Why not.
        reason: String,
        /// The server's code, when it was the server.
        sqlstate: Option<String>,
    },
    /// A function of pgq_node or londiste has refused.
    #[error("{note} (code {code})")]
    Call {
        /// Its code, from 400 on.
        code: i64,
        /// Its words.
        note: String,
    },
    /// The position kept in the node fits neither end of the batch.
    #[error(
        "lost position: batch is ticks {previous} to {tick}, but the node has tick {completed}"
    )]
    LostPosition {
        /// Tick at which the batch begins.
        previous: i64,
        /// Tick at which it ends.
        tick: i64,
        /// Tick that the node has completed.
        completed: i64,
    },
    /// The server's answer was not what the statement promises.
    #[error("unexpected answer: {0}")]
    Answer(String),
}

impl Error {
    /// The server's code, when it was the server's fault first.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Event { sqlstate, .. } => sqlstate.as_deref(),
            _ => None,
        }
    }

    /// Is a single event at fault?
    pub fn is_of_event(&self) -> bool {
        matches!(self, Self::Payload(_) | Self::Refused(_) | Self::Absent(_) | Self::Event { .. })
    }
}
