//! Why a node's worker, or a copy, cannot go on.

use pgq_pg::session::Failure as Here;
use pgq_pg::{copy, remote};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// An event, a table, or an answer.
    #[error(transparent)]
    Replica(#[from] pgq_replica::Error),
    /// A statement in the node's database.
    #[error("{}", said(.0))]
    Here(Here),
    /// The provider. No event is at fault for what it does.
    #[error("{}", said(failure))]
    There {
        /// What it is.
        failure: Here,
        /// It has answered so, and the connection is as it was.
        is_answer: bool,
        /// It has said nothing for too long.
        is_silence: bool,
    },
    /// It is not to be connected to.
    #[error("{what}")]
    Connection {
        /// Why not.
        what: String,
        /// What to do about it.
        hint: &'static str,
        /// As which error it counts.
        sqlstate: &'static str,
    },
}

/// Classes of errors that a row can be the reason for: bad values, broken constraints, limits.
const OF_ROWS: [&str; 5] = ["21", "22", "23", "44", "54"];
/// What a trigger raises.
const RAISED: &str = "P0001";

impl pgq_replica::Failure for Problem {
    fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Replica(error) => error.sqlstate(),
            Self::Here(failure) => Some(&failure.sqlstate),
            Self::There { failure, is_answer: true, .. } => Some(&failure.sqlstate),
            Self::There { .. } => None,
            Self::Connection { sqlstate, .. } => Some(sqlstate),
        }
    }

    fn is_answer(&self) -> bool {
        matches!(self, Self::There { is_answer: true, .. })
    }

    fn is_of_event(&self) -> bool {
        match self {
            Self::Replica(error) => error.is_of_event(),
            Self::Here(Here { sqlstate, .. }) => {
                sqlstate == RAISED || OF_ROWS.iter().any(|class| sqlstate.starts_with(class))
            }
            Self::There { .. } | Self::Connection { .. } => false,
        }
    }
}

impl From<Here> for Problem {
    fn from(failure: Here) -> Self {
        Self::Here(failure)
    }
}

impl From<remote::Failure> for Problem {
    fn from(failure: remote::Failure) -> Self {
        match failure {
            // This session's own, while it waited.
            remote::Failure::Here(failure) => Self::Here(failure),
            other => {
                let is_answer = matches!(other, remote::Failure::Refused { .. });
                let is_silence = matches!(other, remote::Failure::Silent);
                Self::There { failure: other.into(), is_answer, is_silence }
            }
        }
    }
}

impl From<copy::CopyError<Self>> for Problem {
    fn from(error: copy::CopyError<Self>) -> Self {
        match error {
            copy::CopyError::Here(failure) => Self::Here(failure),
            copy::CopyError::Source(problem) => problem,
        }
    }
}

impl Problem {
    /// The event that is at fault, where that is known.
    pub(super) fn event(&self) -> Option<i64> {
        match self {
            Self::Replica(pgq_replica::Error::Event { id, .. }) => Some(*id),
            _ => None,
        }
    }

    /// Its code, whoever gave it.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::There { failure, .. } => Some(&failure.sqlstate),
            other => pgq_replica::Failure::sqlstate(other),
        }
    }

    /// Has the provider said nothing for too long, over a connection?
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::There { is_silence: true, .. })
    }

    /// Did the connection to the provider not come about, or break?
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::There { is_answer: false, .. })
    }
}

fn said(failure: &Here) -> String {
    let mut text = format!("{} (SQLSTATE {})", failure.message, failure.sqlstate);
    for (name, more) in [("", &failure.detail), ("hint: ", &failure.hint)] {
        if let Some(more) = more {
            text.push_str(&format!("; {name}{more}"));
        }
    }
    text
}
