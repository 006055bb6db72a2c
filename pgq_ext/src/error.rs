//! Every error that the Rust part of the extension raises, with its SQLSTATE.
//!
//! Texts that PgQ 3.5 had are kept, since clients match them.

use pgrx::PgSqlErrorCode;

use pgq_pg::call::SqlError;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PgqError {
    /// An argument that must not be NULL was; the text names it.
    #[error("{0} must not be NULL")]
    NullArgument(&'static str),
    /// Arrays of `insert_events` differ in length.
    #[error("array \"{name}\" has {got} elements, but \"ev_type\" has {want}")]
    ArrayLength { name: &'static str, got: usize, want: usize },
    /// An array of `insert_events` has more than one dimension.
    #[error("array \"{0}\" must have one dimension")]
    ArrayDimensions(&'static str),
    /// Insertion into a queue that does not exist.
    #[error("No such queue")]
    NoSuchQueue { queue: String },
    /// `current_event_table` of a queue that does not exist.
    #[error("Event queue not found")]
    EventQueueNotFound { queue: String },
    /// The queue's inserts are disabled.
    #[error("Insert into queue disallowed")]
    InsertDisabled { queue: String },
    /// The same, asked through `current_event_table`.
    #[error("Writing to queue disabled")]
    WritingDisabled { queue: String },
    /// The queue's limit per transaction is reached.
    #[error("Queue '{queue}' allows max {limit} events from one TX")]
    TransactionLimit { queue: String, limit: i32 },
    /// No open batch has this id.
    #[error("batch not found")]
    NoSuchBatch { batch: Option<i64> },
    /// A batch without any event table.
    #[error("could not construct sql for batch {batch}")]
    NoBatchSql { batch: i64 },
    /// A row of pgq.queue or pgq.tick does not make sense.
    #[error("queue \"{queue}\" is corrupt: {problem}")]
    Corrupt { queue: String, problem: String },
    /// A queue's row names a relation that is no event table.
    #[error("relation \"{name}\" is not an event table")]
    NotEventTable { name: String },
    /// A queue's row names a relation that is no sequence of its own.
    #[error("relation \"{name}\" is not a sequence of a queue")]
    NotOwnSequence { name: String },
    /// A name is no relation's.
    #[error("relation \"{name}\" does not exist")]
    NoSuchRelation { name: String },
    /// `seq_getval` of something else.
    #[error("\"{name}\" is not a sequence")]
    NotASequence { name: String },
    /// A lock of another name.
    #[error("no such lock: \"{name}\"")]
    NoSuchLock { name: String },
    /// A query on the extension's own tables failed in an unexpected way.
    #[error("query on the queue's metadata failed: {0}")]
    Query(#[from] pgrx::spi::Error),
}

impl PgqError {
    fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::NullArgument(_) => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::ArrayLength { .. } | Self::ArrayDimensions(_) | Self::NoSuchLock { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Self::NoSuchQueue { .. }
            | Self::EventQueueNotFound { .. }
            | Self::NoSuchBatch { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::InsertDisabled { .. } | Self::WritingDisabled { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::TransactionLimit { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::NoBatchSql { .. }
            | Self::Corrupt { .. }
            | Self::NotEventTable { .. }
            | Self::NotOwnSequence { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            Self::NoSuchRelation { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::NotASequence { .. } => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::Query(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchQueue { queue } | Self::EventQueueNotFound { queue } => Some(format!(
                "There is no queue \"{queue}\" in this database. Create it with pgq.create_queue(), or see pgq.get_queue_info()."
            )),
            Self::InsertDisabled { queue } | Self::WritingDisabled { queue } => Some(format!(
                "Queue \"{queue}\" has queue_disable_insert set: it is a copy that a cascade maintains, or an administrator closed it."
            )),
            Self::NoSuchBatch { batch: Some(batch) } => Some(format!(
                "Batch {batch} is finished, or was never handed out by pgq.next_batch()."
            )),
            Self::TransactionLimit { .. } => {
                Some("Commit more often, or raise queue_per_tx_limit in pgq.queue.".to_owned())
            }
            Self::NotEventTable { .. } => Some(
                "An event table is an ordinary table that inherits from pgq.event_template, and belongs to the owner of pgq.queue or a superuser."
                    .to_owned(),
            ),
            Self::NotOwnSequence { .. } => Some(
                "The sequences of a queue are named pgq.event_<queue_id>_…, and belong to the owner of pgq.queue or a superuser."
                    .to_owned(),
            ),
            Self::NullArgument(_)
            | Self::ArrayLength { .. }
            | Self::ArrayDimensions(_)
            | Self::NoSuchRelation { .. }
            | Self::NotASequence { .. }
            | Self::NoSuchLock { .. }
            | Self::NoSuchBatch { batch: None }
            | Self::NoBatchSql { .. }
            | Self::Corrupt { .. }
            | Self::Query(_) => None,
        }
    }
}

impl From<PgqError> for SqlError {
    fn from(error: PgqError) -> Self {
        Self { code: error.code(), message: error.to_string(), hint: error.hint() }
    }
}
