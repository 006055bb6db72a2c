//! Every error that the Rust part of the extension raises, with its SQLSTATE.
//!
//! Texts that PgQ 3.5 had are kept, since clients match them.

use pgq_core::capture::change::KeyChanged;
use pgq_core::capture::expression::BadExpression;
use pgq_core::capture::kinds::BadKinds;
use pgq_core::capture::options::BadOption;
use pgq_core::encode::TooLarge;
use pgq_pg::call::SqlError;
use pgq_pg::sql::Refused;
use pgrx::PgSqlErrorCode;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PgqError {
    /// An argument that must not be NULL was; the text names it.
    #[error("{0} must not be NULL")]
    NullArgument(&'static str),
    /// Arrays of `insert_events` differ in length.
    #[error("array \"{name}\" has {got} elements, but \"{other}\" has {want}")]
    ArrayLength { name: &'static str, got: usize, other: &'static str, want: usize },
    /// An array of `insert_events` has more than one dimension.
    #[error("array \"{0}\" must have one dimension")]
    ArrayDimensions(&'static str),
    /// Insertion into a queue that does not exist.
    #[error("No such queue")]
    NoSuchQueue { queue: String },
    /// A tick for a queue that does not exist.
    #[error("no such queue")]
    NoQueueToTick { queue: String },
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
    /// A page between ticks that are not there.
    #[error("no events between ticks {previous} and {current}: they are gone")]
    NoTicks { previous: i64, current: i64 },
    /// A slot that no consumer can have.
    #[error("there is no slot {number} of {count}")]
    NoSuchSlot { count: i32, number: i32 },
    /// Headers of a message that are no object.
    #[error("headers must be a JSON object")]
    Headers,
    /// A schedule's expression is none, or none that ever comes.
    #[error("bad cron expression \"{expression}\": {problem}")]
    Cron { expression: String, problem: String },
    /// A schedule's time zone is none.
    #[error("time zone \"{name}\" not recognized")]
    TimeZone { name: String },
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
    Query(#[from] Refused),
    /// A connect string that others will read.
    #[error("the location has a password")]
    PasswordInLocation,
    /// The server's own user could be let in where the caller is not.
    #[error("a password is required")]
    NoPassword,
    /// The same: it was let in for another reason than the password.
    #[error("the other server has not asked for the password")]
    PasswordUnused,
    /// A key of a connect string that reads files or settings of the server's host.
    #[error("only superusers may use \"{0}\" in a connection string")]
    SuperuserKey(String),
    /// An option of a foreign server or user mapping that libpq does not have.
    #[error("invalid option \"{0}\"")]
    ServerOption(String),
    /// An option that has its place elsewhere.
    #[error("option \"{key}\" belongs to the {place}")]
    OptionPlace { key: String, place: &'static str },
    // What a change-capture trigger refuses.
    #[error("pgq.{0} not called as trigger")]
    NotATrigger(&'static str),
    #[error("pgq tRuncate trigger must be fired FOR EACH STATEMENT")]
    TruncatePerRow,
    #[error("pgq Ins/Upd/Del trigger must be fired FOR EACH ROW")]
    ChangePerStatement,
    #[error("pgq trigger must have destination queue as argument")]
    NoQueue,
    #[error("unknown event for pgq trigger")]
    UnknownEvent,
    #[error("SKIP does not work in AFTER trigger.")]
    SkipAfter,
    #[error("pgq.logtriga must be used with 2 or 3 args")]
    KindArguments,
    #[error("pgq.logtriga must be fired AFTER")]
    KindsNotAfter,
    #[error(transparent)]
    BadKinds(#[from] BadKinds),
    #[error(transparent)]
    BadOption(#[from] BadOption),
    #[error("Column ignore does not make sense for truncate trigger")]
    TruncateIgnore,
    #[error("Custom pkey_list does not make sense for truncate trigger")]
    TruncateKey,
    #[error("Backup does not make sense for truncate trigger")]
    TruncateBackup,
    #[error("Custom expressions do not make sense for truncater trigger")]
    TruncateExpression,
    #[error("Update/Delete on table without pkey")]
    NoKey { table: String },
    #[error("Table '{table}' to queue '{queue}': change not allowed ({operation})")]
    Denied { table: String, queue: String, operation: &'static str },
    #[error(transparent)]
    KeyChanged(#[from] KeyChanged),
    #[error("logtriga: Unexpected NULL key value")]
    NullKey,
    #[error("Unknown magic column: {0}")]
    UnknownMagic(String),
    #[error("column \"_pgq_ev_type\" cannot make events of type \"{0}\"")]
    Command(String),
    #[error(transparent)]
    BadExpression(#[from] BadExpression),
    #[error("Override query failed")]
    ExpressionFailed(String),
    #[error("Expect 1 row from override query, got {0}")]
    ExpressionRows(usize),
    #[error("when= query result must be boolean, got={0}")]
    ConditionType(u32),
    #[error("when= should not be NULL")]
    ConditionNull,
    #[error("call of pgq.insert_event failed")]
    InsertFailed(String),
    #[error("event of table {table}: {problem}")]
    TooLarge { table: String, problem: TooLarge },
}

impl PgqError {
    fn code(&self) -> PgSqlErrorCode {
        match self {
            Self::NullArgument(_) => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::ArrayLength { .. }
            | Self::ArrayDimensions(_)
            | Self::NoSuchLock { .. }
            | Self::Cron { .. }
            | Self::TimeZone { .. }
            | Self::NoSuchSlot { .. }
            | Self::Headers => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NoSuchQueue { .. }
            | Self::NoQueueToTick { .. }
            | Self::EventQueueNotFound { .. }
            | Self::NoSuchBatch { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Self::InsertDisabled { .. } | Self::WritingDisabled { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::TransactionLimit { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::NoBatchSql { .. }
            | Self::NoTicks { .. }
            | Self::Corrupt { .. }
            | Self::NotEventTable { .. }
            | Self::NotOwnSequence { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            Self::NoSuchRelation { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Self::NotASequence { .. } => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Self::Query(_) | Self::InsertFailed(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            Self::NotATrigger(_)
            | Self::TruncatePerRow
            | Self::ChangePerStatement
            | Self::UnknownEvent
            | Self::SkipAfter
            | Self::KindsNotAfter => PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Self::NoQueue
            | Self::KindArguments
            | Self::BadKinds(_)
            | Self::BadOption(_)
            | Self::TruncateIgnore
            | Self::TruncateKey
            | Self::TruncateBackup
            | Self::TruncateExpression
            | Self::UnknownMagic(_)
            | Self::Command(_)
            | Self::BadExpression(_)
            | Self::ExpressionFailed(_)
            | Self::ExpressionRows(_)
            | Self::ConditionType(_) => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::ConditionNull => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::PasswordInLocation => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::ServerOption(_) | Self::OptionPlace { .. } => {
                PgSqlErrorCode::ERRCODE_FDW_INVALID_OPTION_NAME
            }
            Self::NoPassword | Self::PasswordUnused | Self::SuperuserKey(_) => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::NoKey { .. } | Self::Denied { .. } | Self::KeyChanged(_) | Self::NullKey => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            Self::TooLarge { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        }
    }

    fn hint(&self) -> Option<String> {
        let plain = |hint: &str| Some(hint.to_owned());
        match self {
            Self::NoSuchQueue { queue }
            | Self::NoQueueToTick { queue }
            | Self::EventQueueNotFound { queue } => Some(format!(
                "There is no queue \"{queue}\" in this database. Create it with pgq.create_queue(), or see pgq.get_queue_info()."
            )),
            Self::InsertDisabled { queue } | Self::WritingDisabled { queue } => Some(format!(
                "Queue \"{queue}\" has queue_disable_insert set: it is a copy that a cascade maintains, or an administrator closed it."
            )),
            Self::NoSuchBatch { batch: Some(batch) } => Some(format!(
                "Batch {batch} is finished, or was never handed out by pgq.next_batch()."
            )),
            Self::TransactionLimit { .. } => {
                plain("Commit more often, or raise queue_per_tx_limit in pgq.queue.")
            }
            Self::NoSuchSlot { .. } => plain("Slots are counted from 0."),
            Self::NoTicks { .. } => plain("See pgq.queue_health()."),
            Self::Headers => plain("For example '{\"traceparent\": \"00-…\"}'."),
            Self::Cron { .. } => plain(
                "Five fields: minute, hour, day of the month, month, day of the week, for example '0 9 * * mon-fri'.",
            ),
            Self::TimeZone { .. } => plain("pg_timezone_names has those that there are."),
            Self::NotEventTable { .. } => plain(
                "An event table is an ordinary table that inherits from pgq.event_template, and belongs to the owner of pgq.queue or a superuser.",
            ),
            Self::NotOwnSequence { .. } => plain(
                "The sequences of a queue are named pgq.event_<queue_id>_…, and belong to the owner of pgq.queue or a superuser.",
            ),
            Self::NoKey { table } => Some(format!(
                "Give table {table} a primary key, name its key columns in the trigger with pkey=, or capture inserts only."
            )),
            Self::NullKey => plain("A key column of the row is NULL: choose others with pkey=."),
            Self::NoQueue => plain("Name the queue: execute function pgq.logutriga('queue')."),
            Self::TruncatePerRow => plain("create trigger … for each statement …"),
            Self::ChangePerStatement => plain("create trigger … for each row …"),
            Self::SkipAfter => plain("Make it a BEFORE trigger, or leave out SKIP."),
            Self::UnknownMagic(_) => plain(
                "Columns _pgq_ev_type, _pgq_ev_data and _pgq_ev_extra1 to _pgq_ev_extra4 set fields of the event.",
            ),
            Self::Command(_) => plain(
                "EXECUTE, londiste.… and pgq.… are commands to the nodes of a cascade, which only pgq.insert_event() and a trigger's ev_type= can give.",
            ),
            Self::KeyChanged(_) => plain(
                "A consumer finds a row by its key. Delete the row and insert it with the new key.",
            ),
            Self::BadOption(_) => plain(
                "Options are SKIP, backup, deny, ignore=, pkey=, when=, and ev_type=, ev_data=, ev_extra1= to ev_extra4=.",
            ),
            Self::BadExpression(BadExpression::Syntax) => plain(
                "A string or comment has no end, or there is a quoted identifier; name columns without quotes.",
            ),
            Self::ExpressionFailed(reason) | Self::InsertFailed(reason) => {
                Some(format!("SPI says {reason}."))
            }
            Self::PasswordInLocation => plain(
                "Locations are seen by everybody who reads the set. Use the password file of the server's user, or a service.",
            ),
            Self::NoPassword | Self::PasswordUnused => plain(
                "Who is not superuser connects as who the password says, not as who the server is. The connection string must have a password, and the other server ask for it.",
            ),
            Self::ServerOption(_) => {
                plain("Options are those of libpq: host, port, dbname, user, password, sslmode, ….")
            }
            Self::OptionPlace { .. } => plain(
                "The foreign server says where the node is, and the user mapping who connects there.",
            ),
            Self::SuperuserKey(_)
            | Self::NullArgument(_)
            | Self::ArrayLength { .. }
            | Self::ArrayDimensions(_)
            | Self::BadKinds(_)
            | Self::UnknownEvent
            | Self::NotATrigger(_)
            | Self::KindArguments
            | Self::KindsNotAfter
            | Self::TruncateIgnore
            | Self::TruncateKey
            | Self::TruncateBackup
            | Self::TruncateExpression
            | Self::Denied { .. }
            | Self::BadExpression(_)
            | Self::ExpressionRows(_)
            | Self::ConditionType(_)
            | Self::ConditionNull
            | Self::TooLarge { .. }
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
